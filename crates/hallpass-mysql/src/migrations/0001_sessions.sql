-- Every text is binary: compared and stored byte for byte, whatever collations the server prefers. Times are milliseconds. The id begins with
-- its time, so that new rows go to the end of the clustered index.
CREATE TABLE IF NOT EXISTS hallpass_sessions (
    id                  BINARY(16)     NOT NULL,
    token_hash          BINARY(32)     NOT NULL,
    user_id             VARBINARY(255) NOT NULL,
    class               VARBINARY(32)  NOT NULL,
    created_at          BIGINT         NOT NULL,
    authenticated_at    BIGINT         NOT NULL,
    renewed_at          BIGINT         NOT NULL,
    last_seen_at        BIGINT         NOT NULL,
    idle_expires_at     BIGINT         NOT NULL,
    absolute_expires_at BIGINT         NOT NULL,
    -- When a sweep looks at the row: never later than its idle deadline, and not moved by a renewal, which so touches no index. NULL once
    -- the session has ended.
    due_at              BIGINT         NULL,
    -- The newest log position when the row was made: a mark above it ends the row.
    epoch               BIGINT         NOT NULL,
    -- 1 from the end on: partial indexes do not exist here, so the index begins with it.
    ended               TINYINT        NOT NULL,
    ended_at            BIGINT         NULL,
    -- The log position that ended it.
    ended_position      BIGINT         NULL,
    ended_by_kind       VARBINARY(16)  NULL,
    ended_by            VARBINARY(255) NULL,
    ended_reason        VARBINARY(32)  NULL,
    label               VARBINARY(256) NULL,
    ip                  VARBINARY(45)  NULL,
    attributes_version  BIGINT         NOT NULL,
    methods             BLOB           NOT NULL,
    source              BLOB           NOT NULL,
    user_agent          BLOB           NULL,
    attributes          BLOB           NOT NULL,
    PRIMARY KEY (id),
    INDEX hallpass_sessions_by_user (user_id, ended, id),
    INDEX hallpass_sessions_by_due (due_at),
    INDEX hallpass_sessions_by_end (ended_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;

-- One row: the newest position of the log, and whose log it is.
CREATE TABLE IF NOT EXISTS hallpass_counter (
    one         TINYINT    NOT NULL,
    n           BIGINT     NOT NULL,
    incarnation BINARY(16) NOT NULL,
    PRIMARY KEY (one)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
INSERT IGNORE INTO hallpass_counter (one, n, incarnation) VALUES (1, 0, ?);

CREATE TABLE IF NOT EXISTS hallpass_revocations (
    n          BIGINT         NOT NULL,
    kind       VARBINARY(16)  NOT NULL,
    session_id BINARY(16)     NULL,
    user_id    VARBINARY(255) NULL,
    -- Tells an entry from another one at the same position, after a restored backup counted on.
    nonce      BINARY(8)      NOT NULL,
    at         BIGINT         NOT NULL,
    PRIMARY KEY (n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;

-- Not-before marks whose end is not yet written into all rows behind them. Nearly always empty.
CREATE TABLE IF NOT EXISTS hallpass_marks (
    n             BIGINT         NOT NULL,
    -- Empty for everyone: no user id is empty.
    user_id       VARBINARY(255) NOT NULL,
    at            BIGINT         NOT NULL,
    by_kind       VARBINARY(16)  NOT NULL,
    by_name       VARBINARY(255) NOT NULL,
    reason        VARBINARY(32)  NOT NULL,
    -- Rows up to this id have been looked at.
    settled_up_to VARBINARY(16)  NOT NULL,
    PRIMARY KEY (n),
    INDEX hallpass_marks_by_user (user_id, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;

-- Rows to lock: creations within a limit of users that share a stripe take turns. A row for each user would grow without bound.
CREATE TABLE IF NOT EXISTS hallpass_limit_locks (
    stripe SMALLINT NOT NULL,
    PRIMARY KEY (stripe)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary;
INSERT IGNORE INTO hallpass_limit_locks (stripe)
SELECT high.d * 16 + low.d FROM
(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7
 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10 UNION ALL SELECT 11 UNION ALL SELECT 12 UNION ALL SELECT 13 UNION ALL SELECT 14 UNION ALL SELECT 15) AS high
CROSS JOIN
(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7
 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10 UNION ALL SELECT 11 UNION ALL SELECT 12 UNION ALL SELECT 13 UNION ALL SELECT 14 UNION ALL SELECT 15) AS low;
