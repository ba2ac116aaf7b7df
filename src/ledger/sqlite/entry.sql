-- The ledger itself, the same in the embedded ledger and in an archive. change: of the balance; balance: after the entry.
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
