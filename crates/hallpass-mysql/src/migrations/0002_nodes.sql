-- Who may answer checks from memory, for how long after asking the log (milliseconds), and up to which position of the log it has forgotten what was revoked.
CREATE TABLE IF NOT EXISTS hallpass_nodes (
    id      BINARY(16) NOT NULL,
    lease   BIGINT     NOT NULL,
    reached BIGINT     NOT NULL,
    -- Of the log and its entry at that position: a log that lost entries and counted on has another one there.
    digest  BIGINT     NOT NULL,
    -- Counts what the node has told: where it stands still, the node is gone.
    beats   BIGINT     NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
