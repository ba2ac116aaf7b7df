-- Calls that belong together, by the hash of what makes them so. claim: call since count paid delivered ends.
CREATE TABLE IF NOT EXISTS claim (
    account  TEXT    NOT NULL,
    name     BLOB    NOT NULL,
    claim    TEXT    NOT NULL,
    ends     INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS claim_ends ON claim (ends);
