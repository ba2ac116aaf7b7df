-- The journal of one gateway: calls of which the ledger has not taken what came of them. Open it with the sqlite3 shell
-- to look, never to write. Amounts are micro-credits, instants milliseconds since 1970, UTC.

CREATE TABLE call (
    id         BLOB    PRIMARY KEY,        -- the call's, which is its hold's
    account    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('running', 'ended', 'refused')),
    allowed    INTEGER NOT NULL CHECK (allowed >= 0),   -- let through without a hold; 0 for a settlement
    operation  TEXT    NOT NULL,           -- what the ledger is asked under the call's id, as JSON
    reason     TEXT                        -- why the ledger refused it
) STRICT, WITHOUT ROWID;

CREATE INDEX call_state ON call (state, id);
