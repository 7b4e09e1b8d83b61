-- Who may answer checks from memory, for how long after asking the log (milliseconds), and up to which position of the log it has forgotten what was revoked.
CREATE TABLE hallpass_nodes (
    id      BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    lease   INTEGER NOT NULL CHECK (lease > 0),
    reached INTEGER NOT NULL,
    -- Of the log and its entry at that position: a log that lost entries and counted on has another one there.
    digest  INTEGER NOT NULL,
    -- Counts what the node has told: where it stands still, the node is gone.
    beats   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
