//! Every statement that the store runs on rows, in one place, so that a test can ask the server for the plan of each.
//!
//! A `?` is a parameter of a prepared statement. `{ids}` and the like stand for lists and values that are written into the text as
//! hexadecimal literals and integers (see `literal.rs`): one round trip for a batch of any size. There is no upsert here but that of nodes, and
//! no statement but [`INSERT`] makes a session.
//!
//! # Locks
//!
//! Every transaction locks in this order, so that none waits in a circle: a stripe for a limit, the first mark, sessions through their primary key
//! in the order of their ids, the counter. Two exceptions never wait: a sweep, and revocations that go together, pass over rows that others hold (`SKIP LOCKED`), and the
//! subqueries on marks are consistent reads without locks, because the connection is READ COMMITTED and the statement is no `UPDATE` of several
//! tables. Deadlocks that remain (two creations with one id) are tried again.

/// Not ended, not behind a mark: what a revocation ends, past its deadline or not.
macro_rules! unended {
    () => {
        "s.ended = 0 \
         AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = s.user_id AND m.n > s.epoch) \
         AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = '' AND m.n > s.epoch)"
    };
}

/// Not ended, not past a stored deadline, not behind a mark. Takes the time twice.
macro_rules! live {
    () => {
        concat!("s.idle_expires_at > ? AND s.absolute_expires_at > ? AND ", unended!())
    };
}

/// The columns of a session in the order that `row.rs` reads, without its end.
macro_rules! columns {
    () => {
        "s.id, s.token_hash, s.user_id, s.class, s.created_at, s.authenticated_at, s.renewed_at, s.last_seen_at, \
         s.idle_expires_at, s.absolute_expires_at, s.label, s.ip, s.methods, s.source, s.attributes_version, s.user_agent, s.attributes"
    };
}

/// The columns of a session with its end, from its row or from the mark that ended it if the row does not say so yet: the lowest one above its
/// epoch, because the first revocation wins. The first look at `MAX(n)` keeps the usual case, no mark above, at one seek in a tiny table.
macro_rules! session {
    () => {
        concat!(
            "SELECT ",
            columns!(),
            ", COALESCE(s.ended_at, m.at), COALESCE(s.ended_by_kind, m.by_kind), COALESCE(s.ended_by, m.by_name), \
             COALESCE(s.ended_reason, m.reason)"
        )
    };
}

macro_rules! its_mark {
    () => {
        " LEFT JOIN hallpass_marks m ON m.n = \
         CASE WHEN s.ended = 0 AND (SELECT MAX(n) FROM hallpass_marks) > s.epoch THEN LEAST(\
         COALESCE((SELECT MIN(n) FROM hallpass_marks WHERE user_id = s.user_id AND n > s.epoch), 9223372036854775807), \
         COALESCE((SELECT MIN(n) FROM hallpass_marks WHERE user_id = '' AND n > s.epoch), 9223372036854775807)) END "
    };
}

/// One session by id as its row says it, and (the last column) whether it ended or there is a mark above its epoch: then [`FIND_ENDED`] tells
/// the truth.
pub const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    ", s.ended = 1 OR s.epoch < (SELECT MAX(n) FROM hallpass_marks) FROM hallpass_sessions s WHERE s.id = ?"
);

/// One session by id, with its end.
pub const FIND_ENDED: &str = concat!(session!(), " FROM hallpass_sessions s", its_mark!(), "WHERE s.id = ?");

/// Whether an id is taken.
pub const EXISTS: &str = "SELECT 1 FROM hallpass_sessions WHERE id = ?";

/// Whether a session lives.
pub const IS_LIVE: &str = concat!("SELECT 1 FROM hallpass_sessions s WHERE s.id = ? AND ", live!());

/// Whether a session is the user's and lives.
pub const IS_LIVE_OF: &str =
    concat!("SELECT 1 FROM hallpass_sessions s WHERE s.id = ? AND s.user_id = ? AND ", live!());

/// Locks the session that stays while others are ended.
pub const LOCK_LIVE_OF: &str =
    concat!("SELECT 1 FROM hallpass_sessions s WHERE s.id = ? AND s.user_id = ? AND ", live!(), " FOR UPDATE");

/// A new session, with the newest log position as its epoch. Fails when the id is taken. The counter stays locked (shared) until the
/// creation commits: a revocation takes the next position only when every session with a lower epoch can be seen.
pub const INSERT: &str = "INSERT INTO hallpass_sessions (id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, \
     last_seen_at, idle_expires_at, absolute_expires_at, due_at, epoch, ended, label, ip, attributes_version, methods, source, user_agent, \
     attributes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
     (SELECT n FROM hallpass_counter WHERE one = 1 LOCK IN SHARE MODE), 0, ?, ?, ?, ?, ?, ?, ?)";

/// Takes the turn among the creations within a limit of the users that share a stripe.
pub const LOCK_STRIPE: &str = "SELECT stripe FROM hallpass_limit_locks WHERE stripe = ? FOR UPDATE";

/// What counts against a limit, oldest first.
pub const LIMITED: &str = concat!(
    "SELECT s.id FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) WHERE s.user_id = ? AND s.class = ? AND s.renewed_at > ? AND s.authenticated_at > ? AND ",
    live!(),
    " ORDER BY s.created_at, s.id"
);

/// Locks the sessions that are to make room, in the order of their ids; those among them that nobody else ended meanwhile.
pub const LOCK_UNENDED_ROWS: &str = "SELECT s.id FROM hallpass_sessions s FORCE INDEX (PRIMARY) WHERE s.id IN ({ids}) AND s.ended = 0 ORDER BY s.id FOR UPDATE";

/// Extends the idle deadline, never past the absolute one, and answers it as the last inserted id.
pub const RENEW: &str = concat!(
    "UPDATE hallpass_sessions AS s SET s.idle_expires_at = LAST_INSERT_ID(LEAST(?, s.absolute_expires_at)), \
     s.due_at = LEAST(s.due_at, ?, s.absolute_expires_at), s.renewed_at = ?, s.last_seen_at = GREATEST(s.last_seen_at, ?) \
     WHERE s.id = ? AND s.token_hash = ? AND s.renewed_at <= ? AND ",
    live!()
);

/// Replaces the hash.
pub const ROTATE: &str =
    concat!("UPDATE hallpass_sessions AS s SET s.token_hash = ? WHERE s.id = ? AND s.token_hash = ? AND ", live!());

/// Replaces the hash and starts both clocks anew.
pub const REAUTHENTICATE: &str = concat!(
    "UPDATE hallpass_sessions AS s SET s.token_hash = ?, s.authenticated_at = ?, s.renewed_at = ?, \
     s.last_seen_at = GREATEST(s.last_seen_at, ?), s.idle_expires_at = ?, s.absolute_expires_at = ?, s.due_at = LEAST(s.due_at, ?), \
     s.methods = ?, s.source = ?, s.ip = ?, s.user_agent = ? WHERE s.id = ? AND s.token_hash = ? AND ",
    live!()
);

/// Names a session of its owner.
pub const SET_LABEL: &str =
    concat!("UPDATE hallpass_sessions AS s SET s.label = ? WHERE s.id = ? AND s.user_id = ? AND ", live!());

/// Replaces the attributes of the expected version.
pub const SET_ATTRIBUTES: &str = concat!(
    "UPDATE hallpass_sessions AS s SET s.attributes = ?, s.attributes_version = s.attributes_version + 1 \
     WHERE s.id = ? AND s.attributes_version = ? AND ",
    live!()
);

/// Moves last-seen times forward, each row to its own: `{times}` is `CASE s.id WHEN … THEN … END`.
pub const TOUCH: &str = concat!(
    "UPDATE hallpass_sessions AS s FORCE INDEX (PRIMARY) SET s.last_seen_at = {times} \
     WHERE s.id IN ({ids}) AND s.last_seen_at < {times} AND s.idle_expires_at > {now} AND s.absolute_expires_at > {now} AND ",
    unended!(),
    " ORDER BY s.id"
);

/// Locks a session that has not ended, and tells whether it is past a deadline. The last two parameters are the owner, or NULL for whoever it is.
pub const LOCK_UNENDED: &str = concat!(
    "SELECT s.idle_expires_at > ? AND s.absolute_expires_at > ? FROM hallpass_sessions s \
     WHERE s.id = ? AND (? IS NULL OR s.user_id = ?) AND ",
    unended!(),
    " FOR UPDATE"
);

/// Ends one session that has not ended.
pub const END: &str = concat!(
    "UPDATE hallpass_sessions AS s SET s.ended = 1, s.due_at = NULL, s.ended_at = ?, s.ended_position = ?, s.ended_by_kind = ?, \
     s.ended_by = ?, s.ended_reason = ? WHERE s.id = ? AND ",
    unended!()
);

/// Locks those of the sessions that have not ended, in the order of their ids, passing over those that others hold: nobody among many has to wait for a lock
/// that concerns one.
pub const LOCK_FREE: &str = concat!(
    "SELECT s.id, s.user_id, s.idle_expires_at, s.absolute_expires_at FROM hallpass_sessions s FORCE INDEX (PRIMARY) \
     WHERE s.id IN ({ids}) AND ",
    unended!(),
    " ORDER BY s.id FOR UPDATE SKIP LOCKED"
);

/// Which of the sessions have not ended.
pub const UNENDED: &str =
    concat!("SELECT s.id FROM hallpass_sessions s FORCE INDEX (PRIMARY) WHERE s.id IN ({ids}) AND ", unended!());

/// Ends sessions that have not ended, each by a revocation of its own: the values are `CASE s.id WHEN … THEN … END`.
pub const END_EACH: &str = concat!(
    "UPDATE hallpass_sessions AS s FORCE INDEX (PRIMARY) SET s.ended = 1, s.due_at = NULL, s.ended_at = {at}, s.ended_position = {n}, \
     s.ended_by_kind = {by_kind}, s.ended_by = {by_name}, s.ended_reason = {reason} WHERE s.id IN ({ids}) AND ",
    unended!(),
    " ORDER BY s.id"
);

/// Writes the end by a mark into rows that lie behind it.
pub const END_BY_MARK: &str = "UPDATE hallpass_sessions AS s FORCE INDEX (PRIMARY) SET s.ended = 1, s.due_at = NULL, s.ended_at = {at}, \
     s.ended_position = {n}, s.ended_by_kind = {by_kind}, s.ended_by = {by_name}, s.ended_reason = {reason} \
     WHERE s.id IN ({ids}) AND s.ended = 0 AND s.epoch < {n} ORDER BY s.id";

/// Lifts the session that stays over the mark that ends the others.
pub const RAISE_EPOCH: &str = "UPDATE hallpass_sessions SET epoch = ? WHERE id = ? AND ended = 0";

/// The next log positions, so many; the last of them is answered as the last inserted id. The counter stays locked until the commit, so positions are in
/// commit order and have no gaps.
pub const NEXT_POSITIONS: &str = "UPDATE hallpass_counter SET n = LAST_INSERT_ID(n + ?) WHERE one = 1";

/// Puts positions back that the same transaction took last and did not log.
pub const RETURN_POSITIONS: &str = "UPDATE hallpass_counter SET n = n - ? WHERE one = 1";

/// An entry of the log.
pub const LOG: &str =
    "INSERT INTO hallpass_revocations (n, kind, session_id, user_id, nonce, at) VALUES (?, ?, ?, ?, ?, ?)";

/// Entries of sessions that ended: `{entries}` is `(n, 'ended', session, nonce, at)` for each.
pub const LOG_EACH: &str = "INSERT INTO hallpass_revocations (n, kind, session_id, nonce, at) VALUES {entries}";

/// An entry that a session lives on changed, if it still does: nobody can end it while the position is taken.
pub const LOG_CHANGED: &str = concat!(
    "INSERT INTO hallpass_revocations (n, kind, session_id, user_id, nonce, at) \
     SELECT ?, 'changed', s.id, NULL, ?, ? FROM hallpass_sessions s WHERE s.id = ? AND ",
    unended!()
);

/// A mark; the user is empty for everyone.
pub const MARK: &str = "INSERT INTO hallpass_marks (n, user_id, at, by_kind, by_name, reason, settled_up_to) VALUES (?, ?, ?, ?, ?, ?, '')";

/// Whether the user has a session but one (none: NULL) that has not ended, newest first: those made after an earlier mark are found at once.
pub const ANY_UNENDED: &str = concat!(
    "SELECT 1 FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) WHERE s.user_id = ? AND (? IS NULL OR s.id <> ?) AND ",
    unended!(),
    " ORDER BY s.id DESC LIMIT 1"
);

/// How many sessions of the user a mark ended: behind it, behind no earlier one, and not expired when it was set. Rows that were settled
/// meanwhile carry its position.
pub const ENDED_BY_MARK: &str = "SELECT (SELECT COUNT(*) FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) \
     WHERE s.user_id = ? AND s.ended = 0 AND s.epoch < ? AND s.idle_expires_at > ? \
     AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = s.user_id AND m.n > s.epoch AND m.n < ?) \
     AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = '' AND m.n > s.epoch AND m.n < ?)) \
     + (SELECT COUNT(*) FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) \
     WHERE s.user_id = ? AND s.ended = 1 AND s.ended_position = ? AND s.idle_expires_at > ?)";

/// Whether any mark waits to be settled.
pub const ANY_MARK: &str = "SELECT 1 FROM hallpass_marks LIMIT 1";

/// Locks the earliest mark that is not settled: one process settles at a time.
pub const FIRST_MARK: &str = "SELECT n, user_id, at, by_kind, by_name, reason, settled_up_to FROM hallpass_marks FORCE INDEX (PRIMARY) \
     ORDER BY n LIMIT 1 FOR UPDATE";

/// The user's next rows to look at for a mark.
pub const UNSETTLED_OF_USER: &str = "SELECT s.id, s.epoch, 0 FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) \
     WHERE s.user_id = ? AND s.ended = 0 AND s.id > ? ORDER BY s.id LIMIT ?";

/// Everybody's next rows to look at for a mark.
pub const UNSETTLED: &str =
    "SELECT s.id, s.epoch, s.ended FROM hallpass_sessions s FORCE INDEX (PRIMARY) WHERE s.id > ? ORDER BY s.id LIMIT ?";

/// How far settling a mark has come.
pub const ADVANCE_MARK: &str = "UPDATE hallpass_marks SET settled_up_to = ? WHERE n = ?";

/// A settled mark goes.
pub const REMOVE_MARK: &str = "DELETE FROM hallpass_marks WHERE n = ?";

/// Locks rows that a sweep has to look at, earliest first, passing over those that others hold.
pub const DUE: &str = "SELECT s.id, s.idle_expires_at, s.due_at FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_due) \
     WHERE s.due_at >= ? AND s.due_at <= ? ORDER BY s.due_at LIMIT ? FOR UPDATE SKIP LOCKED";

/// Moves rows that were renewed to their real deadline.
pub const MOVE_DUE: &str = "UPDATE hallpass_sessions AS s FORCE INDEX (PRIMARY) SET s.due_at = s.idle_expires_at WHERE s.id IN ({ids}) ORDER BY s.id";

/// Locks ended rows whose retention is over, earliest first, passing over those that others hold.
pub const OLD_ENDED: &str = "SELECT s.id FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_end) \
     WHERE s.ended_at <= ? ORDER BY s.ended_at LIMIT ? FOR UPDATE SKIP LOCKED";

/// Removes rows that this transaction has locked. In the form for several tables, because the other one takes no index hint, and a scan of a
/// small table would wait for rows of others.
pub const REMOVE: &str = "DELETE s FROM hallpass_sessions AS s FORCE INDEX (PRIMARY) WHERE s.id IN ({ids})";

/// The beginning of the log.
pub const OLDEST_ENTRIES: &str = "SELECT n, at FROM hallpass_revocations ORDER BY n LIMIT ?";

/// Removes the beginning of the log.
pub const SWEEP_LOG: &str = "DELETE FROM hallpass_revocations WHERE n <= ?";

/// How many rows a sweep would remove.
pub const SWEEPABLE: &str = "SELECT (SELECT COUNT(*) FROM hallpass_sessions FORCE INDEX (hallpass_sessions_by_due) \
     WHERE due_at <= ? AND idle_expires_at <= ?) + (SELECT COUNT(*) FROM hallpass_sessions FORCE INDEX (hallpass_sessions_by_end) \
     WHERE ended_at <= ?)";

/// A page of one user's live sessions.
pub const LIST_LIVE_OF_USER: &str = concat!(
    session!(),
    " FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user)",
    its_mark!(),
    "WHERE s.user_id = ? AND s.id < ? AND (? IS NULL OR s.class = ?) AND ",
    live!(),
    " ORDER BY s.id DESC LIMIT ?"
);

/// A page of one user's sessions, ended ones too: the ids from both halves of the index, merged, and then their rows.
pub const LIST_OF_USER: &str = concat!(
    session!(),
    " FROM ((SELECT l.id FROM hallpass_sessions l FORCE INDEX (hallpass_sessions_by_user) \
     WHERE l.user_id = ? AND l.ended = 0 AND l.id < ? AND (? IS NULL OR l.class = ?) ORDER BY l.id DESC LIMIT ?) UNION ALL \
     (SELECT e.id FROM hallpass_sessions e FORCE INDEX (hallpass_sessions_by_user) \
     WHERE e.user_id = ? AND e.ended = 1 AND e.id < ? AND (? IS NULL OR e.class = ?) ORDER BY e.id DESC LIMIT ?)) AS page \
     STRAIGHT_JOIN hallpass_sessions s ON s.id = page.id",
    its_mark!(),
    "ORDER BY s.id DESC LIMIT ?"
);

/// A page of everybody's live sessions.
pub const LIST_LIVE: &str = concat!(
    session!(),
    " FROM hallpass_sessions s FORCE INDEX (PRIMARY)",
    its_mark!(),
    "WHERE s.id < ? AND (? IS NULL OR s.class = ?) AND ",
    live!(),
    " ORDER BY s.id DESC LIMIT ?"
);

/// A page of everybody's sessions, ended ones too.
pub const LIST: &str = concat!(
    session!(),
    " FROM hallpass_sessions s FORCE INDEX (PRIMARY)",
    its_mark!(),
    "WHERE s.id < ? AND (? IS NULL OR s.class = ?) ORDER BY s.id DESC LIMIT ?"
);

/// How many live sessions a user has.
pub const COUNT_LIVE_OF_USER: &str = concat!(
    "SELECT COUNT(*) FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) WHERE s.user_id = ? AND (? IS NULL OR s.class = ?) AND ",
    live!()
);

/// How many sessions a user has, ended ones too.
pub const COUNT_OF_USER: &str = "SELECT COUNT(*) FROM hallpass_sessions s FORCE INDEX (hallpass_sessions_by_user) \
     WHERE s.user_id = ? AND (? IS NULL OR s.class = ?)";

/// How many live sessions there are.
pub const COUNT_LIVE: &str =
    concat!("SELECT COUNT(*) FROM hallpass_sessions s WHERE (? IS NULL OR s.class = ?) AND ", live!());

/// How many sessions there are, ended ones too.
pub const COUNT: &str = "SELECT COUNT(*) FROM hallpass_sessions s WHERE (? IS NULL OR s.class = ?)";

/// How many live sessions there are while no mark waits to be settled: a row that is due later lives, so the index alone tells most of them.
pub const COUNT_LIVE_WITHOUT_MARKS: &str = "SELECT (SELECT COUNT(*) FROM hallpass_sessions FORCE INDEX (hallpass_sessions_by_due) \
     WHERE due_at > ?) + (SELECT COUNT(*) FROM hallpass_sessions FORCE INDEX (hallpass_sessions_by_due) \
     WHERE due_at <= ? AND idle_expires_at > ?)";

/// Whose log it is, its newest position, the oldest that is kept, and entries (one row without an entry when there is none): one statement,
/// so one snapshot.
pub const CHANGES: &str = "SELECT c.incarnation, c.n, COALESCE((SELECT MIN(n) FROM hallpass_revocations), c.n + 1), \
     r.n, r.kind, r.session_id, r.user_id, r.at FROM hallpass_counter c LEFT JOIN \
     (SELECT n, kind, session_id, user_id, at FROM hallpass_revocations WHERE n > ? ORDER BY n LIMIT ?) AS r ON 1 = 1 \
     WHERE c.one = 1 ORDER BY r.n";

/// Enters a node, or enters it anew. Takes what is told of it twice.
pub const REGISTER_NODE: &str = "INSERT INTO hallpass_nodes (id, lease, reached, beats, digest) VALUES (?, ?, ?, ?, ?) \
     ON DUPLICATE KEY UPDATE lease = ?, reached = ?, beats = ?, digest = ?";

/// What a node that is there tells.
pub const HEARTBEAT: &str = "UPDATE hallpass_nodes SET lease = ?, reached = ?, beats = ?, digest = ? WHERE id = ?";

/// The registry.
pub const NODES: &str = "SELECT id, lease, reached, beats, digest FROM hallpass_nodes";

/// Removes a node that has told nothing more.
pub const FORGET_NODE: &str = "DELETE FROM hallpass_nodes WHERE id = ? AND beats = ?";

/// How many marks wait to be settled.
pub const COUNT_MARKS: &str = "SELECT COUNT(*) FROM hallpass_marks";

/// Every statement by name.
pub const ALL: &[(&str, &str)] = &[
    ("FIND", FIND),
    ("FIND_ENDED", FIND_ENDED),
    ("EXISTS", EXISTS),
    ("IS_LIVE", IS_LIVE),
    ("IS_LIVE_OF", IS_LIVE_OF),
    ("LOCK_LIVE_OF", LOCK_LIVE_OF),
    ("INSERT", INSERT),
    ("LOCK_STRIPE", LOCK_STRIPE),
    ("LIMITED", LIMITED),
    ("LOCK_UNENDED_ROWS", LOCK_UNENDED_ROWS),
    ("RENEW", RENEW),
    ("ROTATE", ROTATE),
    ("REAUTHENTICATE", REAUTHENTICATE),
    ("SET_LABEL", SET_LABEL),
    ("SET_ATTRIBUTES", SET_ATTRIBUTES),
    ("TOUCH", TOUCH),
    ("LOCK_UNENDED", LOCK_UNENDED),
    ("END", END),
    ("LOCK_FREE", LOCK_FREE),
    ("UNENDED", UNENDED),
    ("END_EACH", END_EACH),
    ("END_BY_MARK", END_BY_MARK),
    ("RAISE_EPOCH", RAISE_EPOCH),
    ("NEXT_POSITIONS", NEXT_POSITIONS),
    ("RETURN_POSITIONS", RETURN_POSITIONS),
    ("LOG", LOG),
    ("LOG_EACH", LOG_EACH),
    ("LOG_CHANGED", LOG_CHANGED),
    ("MARK", MARK),
    ("ANY_UNENDED", ANY_UNENDED),
    ("ENDED_BY_MARK", ENDED_BY_MARK),
    ("ANY_MARK", ANY_MARK),
    ("FIRST_MARK", FIRST_MARK),
    ("UNSETTLED_OF_USER", UNSETTLED_OF_USER),
    ("UNSETTLED", UNSETTLED),
    ("ADVANCE_MARK", ADVANCE_MARK),
    ("REMOVE_MARK", REMOVE_MARK),
    ("DUE", DUE),
    ("MOVE_DUE", MOVE_DUE),
    ("OLD_ENDED", OLD_ENDED),
    ("REMOVE", REMOVE),
    ("OLDEST_ENTRIES", OLDEST_ENTRIES),
    ("SWEEP_LOG", SWEEP_LOG),
    ("SWEEPABLE", SWEEPABLE),
    ("LIST_LIVE_OF_USER", LIST_LIVE_OF_USER),
    ("LIST_OF_USER", LIST_OF_USER),
    ("LIST_LIVE", LIST_LIVE),
    ("LIST", LIST),
    ("COUNT_LIVE_OF_USER", COUNT_LIVE_OF_USER),
    ("COUNT_OF_USER", COUNT_OF_USER),
    ("COUNT_LIVE", COUNT_LIVE),
    ("COUNT", COUNT),
    ("COUNT_LIVE_WITHOUT_MARKS", COUNT_LIVE_WITHOUT_MARKS),
    ("CHANGES", CHANGES),
    ("REGISTER_NODE", REGISTER_NODE),
    ("HEARTBEAT", HEARTBEAT),
    ("NODES", NODES),
    ("FORGET_NODE", FORGET_NODE),
    ("COUNT_MARKS", COUNT_MARKS),
];
