-- One row per session, live or ended. Text is compared byte for byte whatever the database's collation.
-- Renewals and last-seen times change no indexed column, so they stay heap-only (HOT) as long as a page has room for another version.
CREATE TABLE hp.hallpass_sessions (
    -- Settling begins above the nil id.
    id                  uuid   NOT NULL CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    token_hash          bytea  NOT NULL CHECK (octet_length(token_hash) = 32),
    user_id             text   COLLATE "C" NOT NULL CHECK (user_id <> ''),
    class               text   COLLATE "C" NOT NULL,
    created_at          bigint NOT NULL,
    authenticated_at    bigint NOT NULL,
    renewed_at          bigint NOT NULL,
    last_seen_at        bigint NOT NULL,
    idle_expires_at     bigint NOT NULL,
    absolute_expires_at bigint NOT NULL,
    -- When the sweeper has to look at the row: never later than the idle deadline. Renewals leave it behind; the sweeper moves it to the
    -- deadline that it finds, once for each idle time-out instead of once for each renewal.
    due_at              bigint NOT NULL,
    -- The newest log position when the row was made: a mark above it ends the row.
    epoch               bigint NOT NULL,
    ended_at            bigint,
    -- The log position that ended it.
    ended_position      bigint,
    ended_by_kind       text   COLLATE "C",
    ended_by            text   COLLATE "C",
    ended_reason        text   COLLATE "C",
    label               text   COLLATE "C",
    ip                  text   COLLATE "C",
    methods             text   COLLATE "C" NOT NULL,
    source              text   COLLATE "C" NOT NULL,
    attributes_version  bigint NOT NULL,
    user_agent          text   COLLATE "C",
    attributes          text   COLLATE "C" NOT NULL,
    CONSTRAINT hallpass_sessions_key PRIMARY KEY (id),
    CONSTRAINT hallpass_sessions_deadlines CHECK (due_at <= idle_expires_at AND idle_expires_at <= absolute_expires_at)
) WITH (
    fillfactor = 85,
    -- Dead versions are a fiftieth of the table at most, and a large table is not left to one slow pass.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX hallpass_live_by_user ON hp.hallpass_sessions (user_id, id) WHERE ended_at IS NULL;
CREATE INDEX hallpass_ended_by_user ON hp.hallpass_sessions (user_id, id) WHERE ended_at IS NOT NULL;
CREATE INDEX hallpass_live_by_due ON hp.hallpass_sessions (due_at) WHERE ended_at IS NULL;
CREATE INDEX hallpass_ended_by_time ON hp.hallpass_sessions (ended_at) WHERE ended_at IS NOT NULL;

-- One row: the newest position of the log, and whose log it is. Its lock orders everything that is logged.
CREATE TABLE hp.hallpass_counter (
    one         integer NOT NULL CHECK (one = 1),
    n           bigint  NOT NULL,
    incarnation uuid    NOT NULL,
    CONSTRAINT hallpass_counter_key PRIMARY KEY (one)
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
INSERT INTO hp.hallpass_counter (one, n, incarnation) VALUES (1, 0, gen_random_uuid());

CREATE TABLE hp.hallpass_revocations (
    n          bigint NOT NULL,
    kind       text   COLLATE "C" NOT NULL CHECK (kind IN ('ended', 'changed', 'user', 'everyone')),
    session_id uuid,
    user_id    text   COLLATE "C",
    -- Tells an entry from another one at the same position, after a restored backup counted on.
    nonce      uuid   NOT NULL DEFAULT gen_random_uuid(),
    at         bigint NOT NULL,
    CONSTRAINT hallpass_revocations_key PRIMARY KEY (n)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- Not-before marks whose end is not yet written into all rows behind them. A mark leaves when it is, and the table is nearly always empty.
CREATE TABLE hp.hallpass_marks (
    n             bigint  NOT NULL,
    -- Empty for everyone: no user id is empty.
    user_id       text    COLLATE "C" NOT NULL,
    at            bigint  NOT NULL,
    by_kind       text    COLLATE "C" NOT NULL,
    by_name       text    COLLATE "C" NOT NULL,
    reason        text    COLLATE "C" NOT NULL,
    -- Whether every creation that may have read an older log position has ended since the mark was committed.
    fenced        boolean NOT NULL DEFAULT false,
    -- Rows up to this id have been looked at.
    settled_up_to uuid    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    CONSTRAINT hallpass_marks_key PRIMARY KEY (n)
) WITH (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX hallpass_marks_by_user ON hp.hallpass_marks (user_id, n);
