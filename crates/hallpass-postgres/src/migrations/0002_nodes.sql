-- Who may answer checks from memory, for how long after asking the log (milliseconds), and up to which position of the log it has forgotten what was revoked.
-- What a node tells changes no indexed column, and its rows are few.
CREATE TABLE hp.hallpass_nodes (
    id      uuid   NOT NULL,
    lease   bigint NOT NULL CHECK (lease > 0),
    reached bigint NOT NULL,
    -- Of the log and its entry at that position: a log that lost entries and counted on has another one there.
    digest  bigint NOT NULL,
    -- Counts what the node has told: where it stands still, the node is gone.
    beats   bigint NOT NULL,
    CONSTRAINT hallpass_nodes_key PRIMARY KEY (id)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
