-- The embedded ledger. Amounts are micro-credits (1 credit = 1,000,000), instants are milliseconds since 1970, UTC.
-- 253402300799000 (year 9999) stands for "no end". Open the file with the sqlite3 shell to look, never to write.

CREATE TABLE account (
    id           TEXT PRIMARY KEY,
    seq          INTEGER NOT NULL CHECK (seq >= 0),
    clock        INTEGER NOT NULL,
    gate_until   INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    debt         INTEGER NOT NULL CHECK (debt >= 0),
    plan_start   INTEGER NOT NULL,
    lots_opened  INTEGER NOT NULL,
    expired      TEXT    NOT NULL          -- holds that ran out and may still be settled, as JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE lot (
    account    TEXT    NOT NULL REFERENCES account (id),
    no         INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('plan', 'gift', 'purchased')),
    source     TEXT,
    starts     INTEGER NOT NULL,
    ends       INTEGER NOT NULL,
    granted    INTEGER NOT NULL CHECK (granted <= 4000000000000000),
    remaining  INTEGER NOT NULL CHECK (remaining BETWEEN 0 AND granted),
    held       INTEGER NOT NULL CHECK (held BETWEEN 0 AND remaining),
    PRIMARY KEY (account, no)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold (
    account   TEXT    NOT NULL REFERENCES account (id),
    id        BLOB    NOT NULL,
    deadline  INTEGER NOT NULL,
    done      INTEGER NOT NULL CHECK (done >= 0),
    parts     TEXT    NOT NULL,            -- [{"lot":1,"amount":1000000}]
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

-- A source grants once, for ever.
CREATE TABLE source (
    account    TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    lot        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    starts     INTEGER NOT NULL,
    ends       INTEGER NOT NULL,
    granted    INTEGER NOT NULL,
    expired    INTEGER NOT NULL CHECK (expired >= 0),
    voided     INTEGER NOT NULL CHECK (voided BETWEEN 0 AND granted),
    reclaimed  INTEGER NOT NULL CHECK (reclaimed BETWEEN 0 AND voided),
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

-- One operation id, one effect: what was answered, kept for 72 hours.
CREATE TABLE operation (
    id           BLOB    NOT NULL,
    step         TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    fingerprint  BLOB    NOT NULL,
    outcome      TEXT    NOT NULL,
    PRIMARY KEY (id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
    account  TEXT PRIMARY KEY,
    version  INTEGER NOT NULL,
    plan     TEXT    NOT NULL,
    anchor   INTEGER NOT NULL,
    zone     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    -- 402 or 429; NULL as the plan says. Files of earlier versions get the column when they are opened.
    when_exhausted INTEGER
) STRICT, WITHOUT ROWID;

-- Only the SHA-256 of a key is kept. account is NULL for a service key.
CREATE TABLE key (
    hash     BLOB PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    name     TEXT    NOT NULL,
    account  TEXT    REFERENCES record (account),
    prefix   TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    ends     INTEGER,
    revoked  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX key_account ON key (account);
