-- One row per session, live or ended. What a check reads stands first and what may be long stands last: SQLite decodes a row
-- from its beginning, and only the tail of a long row goes to overflow pages.
CREATE TABLE hallpass_sessions (
    -- Made from the id, or any other number where two ids agree in what it is made from.
    key                 INTEGER PRIMARY KEY,
    id                  BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    token_hash          BLOB    NOT NULL CHECK (length(token_hash) = 32),
    user_id             TEXT    NOT NULL CHECK (user_id <> ''),
    class               TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    authenticated_at    INTEGER NOT NULL,
    renewed_at          INTEGER NOT NULL,
    last_seen_at        INTEGER NOT NULL,
    idle_expires_at     INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL CHECK (idle_expires_at <= absolute_expires_at),
    -- The newest log position when the row was made: a mark above it ends the row.
    epoch               INTEGER NOT NULL,
    ended_at            INTEGER,
    -- The log position that ended it.
    ended_position      INTEGER,
    ended_by_kind       TEXT,
    ended_by            TEXT,
    ended_reason        TEXT,
    label               TEXT,
    -- Address, source, user agent and methods, a line for each.
    sign_in             TEXT    NOT NULL,
    attributes_version  INTEGER NOT NULL,
    attributes          TEXT    NOT NULL
) STRICT;

CREATE INDEX hallpass_live_by_user ON hallpass_sessions (user_id, id) WHERE ended_at IS NULL;
CREATE INDEX hallpass_ended_by_user ON hallpass_sessions (user_id, id) WHERE ended_at IS NOT NULL;
-- A renewal moves this entry. SQLite has no heap-only updates to lose by that (each write goes through the log anyway), and the
-- index makes each sweep read exactly the rows that it removes.
CREATE INDEX hallpass_live_by_deadline ON hallpass_sessions (idle_expires_at) WHERE ended_at IS NULL;
CREATE INDEX hallpass_ended_by_time ON hallpass_sessions (ended_at) WHERE ended_at IS NOT NULL;

-- One row: the newest position of the log, and whose log it is.
CREATE TABLE hallpass_counter (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    n           INTEGER NOT NULL,
    incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16)
) STRICT;
INSERT INTO hallpass_counter (one, n, incarnation) VALUES (1, 0, randomblob(16));

CREATE TABLE hallpass_revocations (
    n          INTEGER NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('ended', 'changed', 'user', 'everyone')),
    session_id BLOB,
    user_id    TEXT,
    -- Tells an entry from another one at the same position, after a restored backup counted on.
    nonce      BLOB    NOT NULL,
    at         INTEGER NOT NULL
) STRICT;

-- Not-before marks whose end is not yet written into all rows behind them. A mark leaves when it is: sessions made later have a
-- higher epoch, so it can end nothing more. The table is nearly always empty.
CREATE TABLE hallpass_marks (
    n             INTEGER NOT NULL PRIMARY KEY,
    -- Empty for everyone: no user id is empty.
    user_id       TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    by_kind       TEXT    NOT NULL,
    by_name       TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    -- Rows up to this id have been looked at.
    settled_up_to BLOB    NOT NULL
) STRICT;
CREATE INDEX hallpass_marks_by_user ON hallpass_marks (user_id, n);

-- What a check reads of a session that has neither ended nor lies behind a mark (one seek in a table that is nearly always empty). Where it
-- finds nothing, the program looks again by the id, and at the marks. A view, because the text of a statement is hashed at each use: 43
-- characters instead of hundreds.
CREATE VIEW hallpass_found AS
SELECT id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, last_seen_at, idle_expires_at,
       absolute_expires_at, label, sign_in, attributes_version, attributes, key
  FROM hallpass_sessions
 WHERE ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM hallpass_marks WHERE n > epoch);
