-- A file of the archive of a Redis ledger: its entries (entry.sql), and how far they go. Amounts are micro-credits,
-- instants milliseconds since 1970, UTC. Open it with the sqlite3 shell to look, never to write.

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
