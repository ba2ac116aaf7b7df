-- Jobs whose charge may be corrected. Not of the format: versions that don't know the table leave it alone.
CREATE TABLE IF NOT EXISTS job (
    account        TEXT    NOT NULL REFERENCES account (id),
    call           BLOB    NOT NULL,
    place          INTEGER NOT NULL,       -- among those of the account, in the order in which they were charged
    correct_until  INTEGER NOT NULL,
    charged        INTEGER NOT NULL CHECK (charged >= 0),
    owed           INTEGER NOT NULL CHECK (owed >= 0),
    parts          TEXT    NOT NULL,       -- [{"lot":1,"amount":1000000}]
    job            TEXT    NOT NULL,       -- its name and its terms
    PRIMARY KEY (account, call)
) STRICT, WITHOUT ROWID;
