-- What was made through an account at a provider: 16 bytes of the SHA-256 of provider and id. spell is the number of the
-- 30 days in which it was made, if it is forgotten some day; NULL for what stays until it is deleted.
CREATE TABLE IF NOT EXISTS owned (
    account  TEXT NOT NULL,
    thing    BLOB NOT NULL CHECK (length(thing) = 16),
    spell    INTEGER,
    PRIMARY KEY (account, thing)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS owned_spell ON owned (spell) WHERE spell IS NOT NULL;
