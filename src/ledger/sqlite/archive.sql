-- A file of the archive of a Redis ledger: entries as in the embedded ledger (schema.sql), and how far they go. Amounts
-- are micro-credits, instants milliseconds since 1970, UTC. Open it with the sqlite3 shell to look, never to write.

-- Which archive this is, and which of its files, from 1.
CREATE TABLE archive (
    id     TEXT    NOT NULL,
    file   INTEGER NOT NULL,
    begun  INTEGER NOT NULL
) STRICT;

-- For each shard of the ledger, the id of the last message of its log that is archived, in this file or in one before.
CREATE TABLE position (
    shard  INTEGER PRIMARY KEY CHECK (shard BETWEEN 0 AND 255),
    last   TEXT    NOT NULL
) STRICT;

CREATE TABLE entry (
    account  TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq > 0),
    at       INTEGER NOT NULL,
    op       BLOB    NOT NULL,
    kind     TEXT    NOT NULL,
    hold     BLOB,
    change   INTEGER NOT NULL,
    balance  INTEGER NOT NULL,
    fact     TEXT    NOT NULL,             -- the whole entry, as JSON
    PRIMARY KEY (account, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_hold ON entry (hold) WHERE hold IS NOT NULL;

CREATE TRIGGER entry_never_changes BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are immutable'); END;

CREATE TRIGGER entry_never_goes BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'entries are immutable'); END;
