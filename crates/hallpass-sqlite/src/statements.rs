//! Every statement that the store runs on rows, in one place, so that a test can ask SQLite for the plan of each.
//!
//! `?1` is the session's id or the user, wherever there is one. There is no upsert here, and no statement but [`INSERT`] makes a session.

/// Not ended, not behind a mark: what a revocation ends, past its deadline or not.
macro_rules! unended {
    () => {
        "s.ended_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = s.user_id AND m.n > s.epoch) \
         AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = '' AND m.n > s.epoch)"
    };
}

/// Not ended, not past a stored deadline at the given parameter, not behind a mark.
macro_rules! live {
    ($now:literal) => {
        concat!("s.idle_expires_at > ", $now, " AND s.absolute_expires_at > ", $now, " AND ", unended!())
    };
}

/// The columns of a session in the order that `row.rs` reads, and its end: from the row, or from the mark that ended it if its row does not say
/// so yet: the lowest one above its epoch, because the first revocation wins. The first look at `max(n)` keeps the usual case, no mark above,
/// at one seek in a tiny table.
macro_rules! session {
    () => {
        "SELECT s.id, s.token_hash, s.user_id, s.class, s.created_at, s.authenticated_at, s.renewed_at, s.last_seen_at, \
         s.idle_expires_at, s.absolute_expires_at, s.label, s.sign_in, s.attributes_version, s.attributes, coalesce(s.ended_at, m.at), coalesce(s.ended_by_kind, m.by_kind), \
         coalesce(s.ended_by, m.by_name), coalesce(s.ended_reason, m.reason) \
         FROM hallpass_sessions s LEFT JOIN hallpass_marks m ON m.n = \
         CASE WHEN s.ended_at IS NULL AND (SELECT max(n) FROM hallpass_marks) > s.epoch THEN min(\
         coalesce((SELECT min(n) FROM hallpass_marks WHERE user_id = s.user_id AND n > s.epoch), 9223372036854775807), \
         coalesce((SELECT min(n) FROM hallpass_marks WHERE user_id = '' AND n > s.epoch), 9223372036854775807)) END "
    };
}

/// The session at a key, if it has neither ended nor lies behind a mark, as a view gives it (see the first migration): the columns above up to
/// the attributes. Where there is none, [`FIND_BY_ID`] tells the truth.
pub const FIND: &str = "SELECT * FROM hallpass_found WHERE key = ?1";

/// One session by id, with its end.
pub const FIND_BY_ID: &str = concat!(session!(), "WHERE s.id = ?1");

/// Whether an id is taken.
pub const EXISTS: &str = "SELECT 1 FROM hallpass_sessions WHERE id = ?1";

/// Whether a session lives at `?2`.
pub const IS_LIVE: &str = concat!("SELECT 1 FROM hallpass_sessions s WHERE s.id = ?1 AND ", live!("?2"));

/// Whether a session lives at `?2` and is the user's, `?3`.
pub const IS_LIVE_OF: &str =
    concat!("SELECT 1 FROM hallpass_sessions s WHERE s.id = ?1 AND s.user_id = ?3 AND ", live!("?2"));

/// A new session, with the newest log position as its epoch, at the key `?15` unless another one lies there. Fails when the id is taken.
pub const INSERT: &str = "INSERT INTO hallpass_sessions (key, id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, \
     last_seen_at, idle_expires_at, absolute_expires_at, epoch, ended_at, ended_position, ended_by_kind, ended_by, \
     ended_reason, label, sign_in, attributes_version, attributes) \
     VALUES (CASE WHEN EXISTS (SELECT 1 FROM hallpass_sessions WHERE key = ?15) THEN NULL ELSE ?15 END, \
     ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, min(?9, ?10), ?10, (SELECT n FROM hallpass_counter WHERE one = 1), NULL, NULL, \
     NULL, NULL, NULL, ?11, ?12, ?13, ?14)";

/// What counts against a limit, oldest first.
pub const LIMITED: &str = concat!(
    "SELECT s.id FROM hallpass_sessions s WHERE s.user_id = ?1 AND s.class = ?3 AND s.renewed_at > ?4 AND s.authenticated_at > ?5 AND ",
    live!("?2"),
    " ORDER BY s.created_at, s.id"
);

/// Extends the idle deadline, never past the absolute one.
pub const RENEW: &str = concat!(
    "UPDATE hallpass_sessions AS s SET idle_expires_at = min(?3, s.absolute_expires_at), renewed_at = ?2, \
     last_seen_at = max(s.last_seen_at, ?2) WHERE s.id = ?1 AND s.token_hash = ?4 AND s.renewed_at <= ?5 AND ",
    live!("?2"),
    " RETURNING idle_expires_at"
);

/// Replaces the hash.
pub const ROTATE: &str = concat!(
    "UPDATE hallpass_sessions AS s SET token_hash = ?3 WHERE s.id = ?1 AND s.token_hash = ?4 AND ",
    live!("?2")
);

/// Replaces the hash and starts both clocks anew.
pub const REAUTHENTICATE: &str = concat!(
    "UPDATE hallpass_sessions AS s SET token_hash = ?3, authenticated_at = ?2, renewed_at = ?2, \
     last_seen_at = max(s.last_seen_at, ?2), idle_expires_at = min(?5, ?6), absolute_expires_at = ?6, sign_in = ?7 \
     WHERE s.id = ?1 AND s.token_hash = ?4 AND ",
    live!("?2")
);

/// Names a session of its owner, `?3`.
pub const SET_LABEL: &str =
    concat!("UPDATE hallpass_sessions AS s SET label = ?4 WHERE s.id = ?1 AND s.user_id = ?3 AND ", live!("?2"));

/// Replaces the attributes of the expected version, `?3`.
pub const SET_ATTRIBUTES: &str = concat!(
    "UPDATE hallpass_sessions AS s SET attributes = ?4, attributes_version = s.attributes_version + 1 \
     WHERE s.id = ?1 AND s.attributes_version = ?3 AND ",
    live!("?2"),
    " RETURNING attributes_version"
);

/// Moves the last-seen time forward.
pub const TOUCH: &str = concat!(
    "UPDATE hallpass_sessions AS s SET last_seen_at = ?3 WHERE s.id = ?1 AND s.last_seen_at < ?3 AND ",
    live!("?2")
);

/// Whether a session of `?3`, or of whoever it belongs to, that has not ended is live at `?2`.
pub const UNENDED: &str = concat!(
    "SELECT s.idle_expires_at > ?2 AND s.absolute_expires_at > ?2 FROM hallpass_sessions s \
     WHERE s.id = ?1 AND (?3 IS NULL OR s.user_id = ?3) AND ",
    unended!()
);

/// Ends one session that has not ended.
pub const END: &str = concat!(
    "UPDATE hallpass_sessions AS s SET ended_at = ?2, ended_position = ?3, ended_by_kind = ?4, ended_by = ?5, ended_reason = ?6 \
     WHERE s.id = ?1 AND ",
    unended!()
);

/// Writes the end by a mark into a row that lies behind it.
pub const END_BY_MARK: &str = "UPDATE hallpass_sessions SET ended_at = ?2, ended_position = ?3, ended_by_kind = ?4, ended_by = ?5, \
     ended_reason = ?6 WHERE id = ?1 AND ended_at IS NULL AND epoch < ?3";

/// Lifts the session that stays over the mark that ends the others.
pub const RAISE_EPOCH: &str = "UPDATE hallpass_sessions SET epoch = ?2 WHERE id = ?1 AND ended_at IS NULL";

/// The next log position.
pub const NEXT_POSITION: &str = "UPDATE hallpass_counter SET n = n + 1 WHERE one = 1 RETURNING n";

/// An entry of the log.
pub const LOG: &str = "INSERT INTO hallpass_revocations (n, kind, session_id, user_id, nonce, at) \
     VALUES (?1, ?2, ?3, ?4, randomblob(8), ?5)";

/// A mark; `?2` is empty for everyone.
pub const MARK: &str = "INSERT INTO hallpass_marks (n, user_id, at, by_kind, by_name, reason, settled_up_to) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, x'')";

/// Whether the user has a session that has not ended, newest first: those made after an earlier mark are found at once.
pub const ANY_UNENDED: &str = concat!(
    "SELECT 1 FROM hallpass_sessions s WHERE s.user_id = ?1 AND (?2 IS NULL OR s.id <> ?2) AND ",
    unended!(),
    " ORDER BY s.id DESC LIMIT 1"
);

/// How many sessions of the user a mark, `?3`, ended: behind it, behind no earlier one, and not expired when it was set, `?2`. Rows that were
/// settled meanwhile carry its position.
pub const ENDED_BY_MARK: &str = "SELECT (SELECT count(*) FROM hallpass_sessions s INDEXED BY hallpass_live_by_user \
     WHERE s.user_id = ?1 AND s.ended_at IS NULL AND s.epoch < ?3 AND s.idle_expires_at > ?2 \
     AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = s.user_id AND m.n > s.epoch AND m.n < ?3) \
     AND NOT EXISTS (SELECT 1 FROM hallpass_marks m WHERE m.user_id = '' AND m.n > s.epoch AND m.n < ?3)) \
     + (SELECT count(*) FROM hallpass_sessions s INDEXED BY hallpass_ended_by_user \
     WHERE s.user_id = ?1 AND s.ended_at IS NOT NULL AND s.ended_position = ?3 AND s.idle_expires_at > ?2)";

/// The earliest mark that is not settled.
pub const FIRST_MARK: &str =
    "SELECT n, user_id, at, by_kind, by_name, reason, settled_up_to FROM hallpass_marks ORDER BY n LIMIT 1";

/// The user's next rows to look at for a mark.
pub const UNSETTLED_OF_USER: &str = "SELECT s.id, s.epoch, 0 FROM hallpass_sessions s INDEXED BY hallpass_live_by_user \
     WHERE s.user_id = ?1 AND s.ended_at IS NULL AND s.id > ?2 ORDER BY s.id LIMIT ?3";

/// Everybody's next rows to look at for a mark.
pub const UNSETTLED: &str =
    "SELECT s.id, s.epoch, s.ended_at IS NOT NULL FROM hallpass_sessions s WHERE s.id > ?1 ORDER BY s.id LIMIT ?2";

/// How far settling a mark has come.
pub const ADVANCE_MARK: &str = "UPDATE hallpass_marks SET settled_up_to = ?2 WHERE n = ?1";

/// A settled mark goes.
pub const REMOVE_MARK: &str = "DELETE FROM hallpass_marks WHERE n = ?1";

/// Removes expired rows, oldest first. The absolute deadline is never earlier than the idle one.
pub const SWEEP_EXPIRED: &str = "DELETE FROM hallpass_sessions WHERE id IN (SELECT id FROM hallpass_sessions \
     INDEXED BY hallpass_live_by_deadline WHERE ended_at IS NULL AND idle_expires_at <= ?1 ORDER BY idle_expires_at LIMIT ?2)";

/// Removes ended rows, oldest first.
pub const SWEEP_ENDED: &str = "DELETE FROM hallpass_sessions WHERE id IN (SELECT id FROM hallpass_sessions \
     INDEXED BY hallpass_ended_by_time WHERE ended_at IS NOT NULL AND ended_at <= ?1 ORDER BY ended_at LIMIT ?2)";

/// The beginning of the log.
pub const OLDEST_ENTRIES: &str = "SELECT n, at FROM hallpass_revocations ORDER BY n LIMIT ?1";

/// Removes the beginning of the log.
pub const SWEEP_LOG: &str = "DELETE FROM hallpass_revocations WHERE n <= ?1";

/// How many rows a sweep would remove.
pub const SWEEPABLE: &str = "SELECT (SELECT count(*) FROM hallpass_sessions INDEXED BY hallpass_live_by_deadline \
     WHERE ended_at IS NULL AND idle_expires_at <= ?1) + (SELECT count(*) FROM hallpass_sessions \
     INDEXED BY hallpass_ended_by_time WHERE ended_at IS NOT NULL AND ended_at <= ?2)";

/// A page of one user's live sessions.
pub const LIST_LIVE_OF_USER: &str = concat!(
    session!(),
    "WHERE s.user_id = ?1 AND s.id < ?3 AND (?4 IS NULL OR s.class = ?4) AND ",
    live!("?2"),
    " ORDER BY s.id DESC LIMIT ?5"
);

/// A page of one user's sessions, ended ones too: both partial indexes, merged in order.
pub const LIST_OF_USER: &str = concat!(
    session!(),
    "WHERE s.user_id = ?1 AND s.id < ?3 AND (?4 IS NULL OR s.class = ?4) AND s.ended_at IS NULL UNION ALL ",
    session!(),
    "WHERE s.user_id = ?1 AND s.id < ?3 AND (?4 IS NULL OR s.class = ?4) AND s.ended_at IS NOT NULL ORDER BY 1 DESC LIMIT ?5"
);

/// A page of everybody's live sessions. `?1` is not used.
pub const LIST_LIVE: &str = concat!(
    session!(),
    "WHERE s.id < ?3 AND (?4 IS NULL OR s.class = ?4) AND ?1 IS NULL AND ",
    live!("?2"),
    " ORDER BY s.id DESC LIMIT ?5"
);

/// A page of everybody's sessions, ended ones too. `?1` and `?2` are not used.
pub const LIST: &str = concat!(
    session!(),
    "WHERE s.id < ?3 AND (?4 IS NULL OR s.class = ?4) AND ?1 IS NULL AND ?2 IS NOT NULL ORDER BY s.id DESC LIMIT ?5"
);

/// How many live sessions a user has.
pub const COUNT_LIVE_OF_USER: &str = concat!(
    "SELECT count(*) FROM hallpass_sessions s WHERE s.user_id = ?1 AND (?3 IS NULL OR s.class = ?3) AND ",
    live!("?2")
);

/// How many sessions a user has, ended ones too.
pub const COUNT_OF_USER: &str = "SELECT (SELECT count(*) FROM hallpass_sessions s WHERE s.user_id = ?1 AND s.ended_at IS NULL \
     AND (?3 IS NULL OR s.class = ?3)) + (SELECT count(*) FROM hallpass_sessions s WHERE s.user_id = ?1 AND s.ended_at IS NOT NULL \
     AND (?3 IS NULL OR s.class = ?3)) WHERE ?2 IS NOT NULL";

/// How many live sessions there are.
pub const COUNT_LIVE: &str = concat!(
    "SELECT count(*) FROM hallpass_sessions s INDEXED BY hallpass_live_by_deadline WHERE (?3 IS NULL OR s.class = ?3) AND ?1 IS NULL AND ",
    live!("?2")
);

/// How many sessions there are, ended ones too.
pub const COUNT: &str =
    "SELECT count(*) FROM hallpass_sessions s WHERE (?3 IS NULL OR s.class = ?3) AND ?1 IS NULL AND ?2 IS NOT NULL";

/// How many live sessions there are while no mark waits to be settled: read from the index alone.
pub const COUNT_LIVE_WITHOUT_MARKS: &str = "SELECT count(*) FROM hallpass_sessions INDEXED BY hallpass_live_by_deadline \
     WHERE ended_at IS NULL AND idle_expires_at > ?1";

/// Whose log it is, its newest position, and the oldest that is kept.
pub const LOG_HEAD: &str = "SELECT incarnation, n, coalesce((SELECT min(n) FROM hallpass_revocations), n + 1) \
     FROM hallpass_counter WHERE one = 1";

/// Entries of the log.
pub const LOG_ENTRIES: &str =
    "SELECT n, kind, session_id, user_id, at FROM hallpass_revocations WHERE n > ?1 ORDER BY n LIMIT ?2";

/// Enters a node, or enters it anew.
pub const REGISTER_NODE: &str =
    "INSERT OR REPLACE INTO hallpass_nodes (id, lease, reached, beats, digest) VALUES (?1, ?2, ?3, ?4, ?5)";

/// What a node that is there tells.
pub const HEARTBEAT: &str = "UPDATE hallpass_nodes SET lease = ?2, reached = ?3, beats = ?4, digest = ?5 WHERE id = ?1";

/// The registry.
pub const NODES: &str = "SELECT id, lease, reached, beats, digest FROM hallpass_nodes";

/// Removes a node that has told nothing more.
pub const FORGET_NODE: &str = "DELETE FROM hallpass_nodes WHERE id = ?1 AND beats = ?2";

/// How many marks wait to be settled.
pub const COUNT_MARKS: &str = "SELECT count(*) FROM hallpass_marks";

/// Every statement by name.
pub const ALL: &[(&str, &str)] = &[
    ("FIND", FIND),
    ("FIND_BY_ID", FIND_BY_ID),
    ("EXISTS", EXISTS),
    ("IS_LIVE", IS_LIVE),
    ("IS_LIVE_OF", IS_LIVE_OF),
    ("INSERT", INSERT),
    ("LIMITED", LIMITED),
    ("RENEW", RENEW),
    ("ROTATE", ROTATE),
    ("REAUTHENTICATE", REAUTHENTICATE),
    ("SET_LABEL", SET_LABEL),
    ("SET_ATTRIBUTES", SET_ATTRIBUTES),
    ("TOUCH", TOUCH),
    ("UNENDED", UNENDED),
    ("END", END),
    ("END_BY_MARK", END_BY_MARK),
    ("RAISE_EPOCH", RAISE_EPOCH),
    ("NEXT_POSITION", NEXT_POSITION),
    ("LOG", LOG),
    ("MARK", MARK),
    ("ANY_UNENDED", ANY_UNENDED),
    ("ENDED_BY_MARK", ENDED_BY_MARK),
    ("FIRST_MARK", FIRST_MARK),
    ("UNSETTLED_OF_USER", UNSETTLED_OF_USER),
    ("UNSETTLED", UNSETTLED),
    ("ADVANCE_MARK", ADVANCE_MARK),
    ("REMOVE_MARK", REMOVE_MARK),
    ("SWEEP_EXPIRED", SWEEP_EXPIRED),
    ("SWEEP_ENDED", SWEEP_ENDED),
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
    ("LOG_HEAD", LOG_HEAD),
    ("LOG_ENTRIES", LOG_ENTRIES),
    ("REGISTER_NODE", REGISTER_NODE),
    ("HEARTBEAT", HEARTBEAT),
    ("NODES", NODES),
    ("FORGET_NODE", FORGET_NODE),
    ("COUNT_MARKS", COUNT_MARKS),
];
