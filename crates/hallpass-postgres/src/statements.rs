//! Every statement that the store runs on rows, in one place, so that a test can ask PostgreSQL for the plan of each.
//!
//! `hp.` stands for the schema. There is no upsert here but that of nodes, and no statement but [`INSERT`] and [`INSERT_LIMITED`] makes a session.
//!
//! # Locks
//!
//! Whatever is logged takes the counter's row lock in a statement of its own first (`LOCK_…`, only if there is something to do), and then acts in
//! the next one: under READ COMMITTED that one sees everything that was logged before. So logged changes follow each other, as if there were one
//! writer, and positions have no gaps in commit order. The order of locks is everywhere: creations' lock, user's lock, counter, sessions by id,
//! marks.

/// A statement with a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sql {
    /// The name of its constant.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub const $name: Sql = Sql { name: stringify!($name), text: $text };)*
        /// Every statement.
        pub const ALL: &[Sql] = &[$($name),*];
    };
}

/// Not ended, not behind a mark: what a revocation ends, past its deadline or not. The first look at the newest mark keeps the usual case, no
/// mark above, at one seek in a tiny table for the whole statement.
macro_rules! unended {
    () => {
        "s.ended_at IS NULL AND (s.epoch >= coalesce((SELECT max(m.n) FROM hp.hallpass_marks m), 0) \
         OR s.epoch >= coalesce((SELECT max(m.n) FROM hp.hallpass_marks m WHERE m.user_id = ''), 0) \
         AND s.epoch >= coalesce((SELECT max(m.n) FROM hp.hallpass_marks m WHERE m.user_id = s.user_id), 0))"
    };
}

/// Not ended, not past a stored deadline at the given parameter, not behind a mark.
macro_rules! live {
    ($now:literal) => {
        concat!("s.idle_expires_at > ", $now, " AND s.absolute_expires_at > ", $now, " AND ", unended!())
    };
}

/// What a row says of a session that has not ended, in the order that `row.rs` reads.
macro_rules! columns {
    () => {
        "s.id, s.token_hash, s.user_id, s.class, s.created_at, s.authenticated_at, s.renewed_at, s.last_seen_at, \
         s.idle_expires_at, s.absolute_expires_at, s.label, s.ip, s.methods, s.source, s.attributes_version, s.user_agent, s.attributes"
    };
}

/// The columns of a session and its end: from the row, or from the mark that ended it if its row does not say so yet: the lowest one above its
/// epoch, because the first revocation wins.
macro_rules! session {
    () => {
        concat!(
            "SELECT ",
            columns!(),
            ", coalesce(s.ended_at, m.at), coalesce(s.ended_by_kind, m.by_kind), coalesce(s.ended_by, m.by_name), \
             coalesce(s.ended_reason, m.reason) \
             FROM hp.hallpass_sessions s LEFT JOIN LATERAL (SELECT k.at, k.by_kind, k.by_name, k.reason FROM hp.hallpass_marks k \
             WHERE s.ended_at IS NULL AND s.epoch < (SELECT max(m.n) FROM hp.hallpass_marks m) AND k.n = least(\
             (SELECT min(m.n) FROM hp.hallpass_marks m WHERE m.user_id = s.user_id AND m.n > s.epoch), \
             (SELECT min(m.n) FROM hp.hallpass_marks m WHERE m.user_id = '' AND m.n > s.epoch)) LIMIT 1) m ON true "
        )
    };
}

/// Locks the counter if there is something to do.
macro_rules! lock_if_any {
    ($rows:expr) => {
        concat!(
            "SELECT c.n FROM hp.hallpass_counter c WHERE c.one = 1 AND EXISTS (SELECT 1 FROM hp.hallpass_sessions s WHERE ",
            $rows,
            ") FOR NO KEY UPDATE OF c"
        )
    };
}

/// Takes the next position if there are rows in each of these common table expressions.
macro_rules! position_if {
    ($($rows:literal),*) => {
        concat!(
            "position AS (UPDATE hp.hallpass_counter c SET n = c.n + 1 WHERE c.one = 1",
            $(" AND EXISTS (SELECT 1 FROM ", $rows, ")",)*
            " RETURNING c.n)"
        )
    };
}

/// Writes the entry at the position that was taken: `$kind`, the session and the user, at the given parameter.
macro_rules! logged {
    ($kind:literal, $session:literal, $user:literal, $at:literal) => {
        concat!(
            ", logged AS (INSERT INTO hp.hallpass_revocations (n, kind, session_id, user_id, at) SELECT p.n, '",
            $kind,
            "', ",
            $session,
            ", ",
            $user,
            ", ",
            $at,
            " FROM position p)"
        )
    };
}

/// The columns of a new session; its epoch comes between the deadlines and the label.
macro_rules! insert {
    () => {
        "INSERT INTO hp.hallpass_sessions (id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, \
         last_seen_at, idle_expires_at, due_at, absolute_expires_at, epoch, label, ip, methods, source, attributes_version, \
         user_agent, attributes) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, least($9, $10), least($9, $10), $10, "
    };
}

/// What counts against a limit.
macro_rules! limited {
    () => {
        concat!(
            "s.user_id = $3 AND s.class = $4 AND s.renewed_at > $19 AND s.authenticated_at > $20 AND ",
            live!("$18")
        )
    };
}

/// Ends sessions; the position is `p.n` plus an offset.
macro_rules! set_ended {
    ($at:literal, $position:literal, $kind:literal, $name:literal, $reason:literal) => {
        concat!(
            "UPDATE hp.hallpass_sessions s SET ended_at = ",
            $at,
            ", ended_position = ",
            $position,
            ", ended_by_kind = ",
            $kind,
            ", ended_by = ",
            $name,
            ", ended_reason = ",
            $reason,
            " "
        )
    };
}

/// Looks at the next `$2` rows behind the mark `$1`, ends those below it, and moves the mark on or removes it.
macro_rules! settle {
    ($rows:literal) => {
        concat!(
            "WITH mark AS (SELECT * FROM hp.hallpass_marks k WHERE k.n = $1 AND k.fenced), \
             looked AS (SELECT s.id, s.epoch, s.ended_at FROM hp.hallpass_sessions s WHERE ",
            $rows,
            " AND s.id > (SELECT k.settled_up_to FROM mark k) ORDER BY s.id LIMIT $2), \
             behind AS (SELECT s.id FROM hp.hallpass_sessions s WHERE s.id = ANY(ARRAY(SELECT l.id FROM looked l \
             WHERE l.ended_at IS NULL AND l.epoch < $1)) AND s.ended_at IS NULL AND s.epoch < $1 ORDER BY s.id FOR NO KEY UPDATE), \
             ended AS (UPDATE hp.hallpass_sessions s SET ended_at = k.at, ended_position = k.n, ended_by_kind = k.by_kind, \
             ended_by = k.by_name, ended_reason = k.reason FROM mark k WHERE s.id = ANY(ARRAY(SELECT b.id FROM behind b)) \
             AND s.ended_at IS NULL RETURNING 1), \
             moved AS (UPDATE hp.hallpass_marks k SET settled_up_to = (SELECT l.id FROM looked l ORDER BY l.id DESC LIMIT 1) \
             WHERE k.n = $1 AND k.fenced AND (SELECT count(*) FROM looked) >= $2), \
             removed AS (DELETE FROM hp.hallpass_marks k WHERE k.n = $1 AND k.fenced AND (SELECT count(*) FROM looked) < $2) \
             SELECT (SELECT count(*) FROM looked), (SELECT count(*) FROM ended)"
        )
    };
}

statements! {
    /// Sessions by id, `$1`, and in column 17 whether each may have ended: then [`FIND_WITH_ENDS`] tells the truth. One read for all that wait, and
    /// a plain one: looking for the marks behind which each row may lie costs as much again as the rest, even where there are none.
    FIND = concat!(
        "SELECT ",
        columns!(),
        ", s.ended_at IS NOT NULL OR s.epoch < coalesce((SELECT max(m.n) FROM hp.hallpass_marks m), 0) \
         FROM hp.hallpass_sessions s WHERE s.id = ANY($1)"
    );

    /// Sessions by id, `$1`, with their ends.
    FIND_WITH_ENDS = concat!(session!(), "WHERE s.id = ANY($1)");

    /// Whether a session lives at `$2`.
    IS_LIVE = concat!("SELECT 1 FROM hp.hallpass_sessions s WHERE s.id = $1 AND ", live!("$2"));

    /// Shared by creations, all of them, `$1`, and those of a user, `$2`: holds off what must not happen while one is under way.
    LOCK_CREATION = "SELECT pg_advisory_xact_lock_shared($1), pg_advisory_xact_lock_shared($2)";

    /// The same for a creation that counts: those of one user follow each other.
    LOCK_COUNTED_CREATION = "SELECT pg_advisory_xact_lock_shared($1), pg_advisory_xact_lock($2)";

    /// Held alone: waits until those that hold it have ended.
    LOCK_ALONE = "SELECT pg_advisory_xact_lock($1)";

    /// A new session, with the newest log position as its epoch. Fails when the id is taken.
    INSERT = concat!(
        insert!(),
        "(SELECT c.n FROM hp.hallpass_counter c WHERE c.one = 1), $11, $12, $13, $14, $15, $16, $17"
    );

    /// Locks the counter if the limit, `$7`, will end sessions.
    LOCK_FOR_LIMIT = concat!(
        "SELECT c.n FROM hp.hallpass_counter c WHERE c.one = 1 AND NOT EXISTS (SELECT 1 FROM hp.hallpass_sessions s WHERE s.id = $1) \
         AND (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.user_id = $2 AND s.class = $3 AND s.renewed_at > $4 \
         AND s.authenticated_at > $5 AND ",
        live!("$6"),
        ") >= $7 FOR NO KEY UPDATE OF c"
    );

    /// A new session within a limit of `$21`: refused (`$22`) or in the place of the oldest ones. Answers whether the id was taken, how many
    /// were counted, whether it was written, and which were ended.
    INSERT_LIMITED = concat!(
        "WITH taken AS (SELECT 1 FROM hp.hallpass_sessions s WHERE s.id = $1), \
         counted AS (SELECT s.id, row_number() OVER (ORDER BY s.created_at, s.id) AS age, count(*) OVER () AS live \
         FROM hp.hallpass_sessions s WHERE ", limited!(), "), \
         room AS (SELECT coalesce(max(c.live), 0) AS live, NOT EXISTS (SELECT 1 FROM taken) \
         AND (NOT $22 OR coalesce(max(c.live), 0) < $21) AS granted FROM counted c), \
         victims AS (SELECT c.id, c.age FROM counted c, room r WHERE r.granted AND c.age <= r.live + 1 - $21), \
         locked AS (SELECT s.id FROM hp.hallpass_sessions s WHERE s.id = ANY(ARRAY(SELECT v.id FROM victims v)) \
         AND s.ended_at IS NULL ORDER BY s.id FOR NO KEY UPDATE), \
         numbered AS (SELECT v.id, row_number() OVER (ORDER BY v.age) AS nth, count(*) OVER () AS total \
         FROM victims v WHERE v.id = ANY(ARRAY(SELECT l.id FROM locked l))), \
         position AS (UPDATE hp.hallpass_counter c SET n = c.n + (SELECT count(*) FROM numbered) \
         WHERE c.one = 1 AND EXISTS (SELECT 1 FROM numbered) RETURNING c.n), \
         logged AS (INSERT INTO hp.hallpass_revocations (n, kind, session_id, user_id, at) \
         SELECT p.n - d.total + d.nth, 'ended', d.id, NULL, $18 FROM position p, numbered d), \
         ended AS (", set_ended!("$18", "p.n - d.total + d.nth", "$23", "$24", "$25"),
        "FROM position p, numbered d WHERE s.id = d.id AND s.id = ANY(ARRAY(SELECT l.id FROM locked l)) AND s.ended_at IS NULL), \
         made AS (", insert!(),
        "coalesce((SELECT p.n FROM position p), (SELECT c.n FROM hp.hallpass_counter c WHERE c.one = 1)), \
         $11, $12, $13, $14, $15, $16, $17 FROM room r WHERE r.granted) \
         SELECT EXISTS (SELECT 1 FROM taken), r.live, r.granted, ARRAY(SELECT d.id FROM numbered d ORDER BY d.nth) FROM room r"
    );

    /// Extends the idle deadline, never past the absolute one. Changes no indexed column, unless the deadline moves back.
    RENEW = concat!(
        "UPDATE hp.hallpass_sessions s SET idle_expires_at = least($3, s.absolute_expires_at), due_at = least(s.due_at, $3), \
         renewed_at = $2, last_seen_at = greatest(s.last_seen_at, $2) WHERE s.id = $1 AND s.token_hash = $4 AND s.renewed_at <= $5 AND ",
        live!("$2"),
        " RETURNING s.idle_expires_at"
    );

    /// Locks the counter if the session, `$1`, lives and has the hash, `$3`.
    LOCK_FOR_ROTATION = lock_if_any!(concat!("s.id = $1 AND s.token_hash = $3 AND ", live!("$2")));

    /// Replaces the hash.
    ROTATE = concat!(
        "WITH changed AS (UPDATE hp.hallpass_sessions s SET token_hash = $3 WHERE s.id = $1 AND s.token_hash = $4 AND ",
        live!("$2"),
        " RETURNING 1), ",
        position_if!("changed"),
        logged!("changed", "$1", "NULL", "$2"),
        " SELECT p.n FROM position p"
    );

    /// Replaces the hash and starts both clocks anew.
    REAUTHENTICATE = concat!(
        "WITH changed AS (UPDATE hp.hallpass_sessions s SET token_hash = $3, authenticated_at = $2, renewed_at = $2, \
         last_seen_at = greatest(s.last_seen_at, $2), idle_expires_at = least($5, $6), due_at = least(s.due_at, $5, $6), \
         absolute_expires_at = $6, methods = $7, source = $8, ip = $9, user_agent = $10 WHERE s.id = $1 AND s.token_hash = $4 AND ",
        live!("$2"),
        " RETURNING 1), ",
        position_if!("changed"),
        logged!("changed", "$1", "NULL", "$2"),
        " SELECT p.n FROM position p"
    );

    /// Locks the counter if the session, `$1`, lives and belongs to `$3`.
    LOCK_FOR_LABEL = lock_if_any!(concat!("s.id = $1 AND s.user_id = $3 AND ", live!("$2")));

    /// Names a session of its owner, `$3`.
    SET_LABEL = concat!(
        "WITH changed AS (UPDATE hp.hallpass_sessions s SET label = $4 WHERE s.id = $1 AND s.user_id = $3 AND ",
        live!("$2"),
        " RETURNING s.id), ",
        position_if!("changed"),
        logged!("changed", "$1", "NULL", "$2"),
        " SELECT 1 FROM changed c, position p"
    );

    /// Locks the counter if the session, `$1`, lives and its attributes have the version, `$3`.
    LOCK_FOR_ATTRIBUTES = lock_if_any!(concat!("s.id = $1 AND s.attributes_version = $3 AND ", live!("$2")));

    /// Replaces the attributes of the expected version, `$3`.
    SET_ATTRIBUTES = concat!(
        "WITH changed AS (UPDATE hp.hallpass_sessions s SET attributes = $4, attributes_version = s.attributes_version + 1 \
         WHERE s.id = $1 AND s.attributes_version = $3 AND ",
        live!("$2"),
        " RETURNING s.attributes_version), ",
        position_if!("changed"),
        logged!("changed", "$1", "NULL", "$2"),
        " SELECT c.attributes_version FROM changed c, position p"
    );

    /// Moves last-seen times forward: sessions `$1` to times `$2`, if they live at `$3`.
    TOUCH = concat!(
        "WITH later AS (SELECT s.id, w.at FROM hp.hallpass_sessions s JOIN unnest($1, $2) AS w (id, at) ON s.id = w.id \
         WHERE s.id = ANY($1) AND s.last_seen_at < w.at AND ",
        live!("$3"),
        " ORDER BY s.id FOR NO KEY UPDATE OF s) \
         UPDATE hp.hallpass_sessions s SET last_seen_at = l.at FROM later l WHERE s.id = l.id AND s.id = ANY($1) AND s.last_seen_at < l.at \
         RETURNING 1"
    );

    /// Locks the counter if the session, `$1`, has not ended and is `$2`'s, or whoever's.
    LOCK_FOR_SESSION = lock_if_any!(concat!("s.id = $1 AND ($2 IS NULL OR s.user_id = $2) AND ", unended!()));

    /// Ends a session that has not ended; answers its position and whether it was live.
    REVOKE_SESSION = concat!(
        "WITH target AS (SELECT s.idle_expires_at > $2 AND s.absolute_expires_at > $2 AS live FROM hp.hallpass_sessions s \
         WHERE s.id = $1 AND ($3 IS NULL OR s.user_id = $3) AND ",
        unended!(),
        "), ",
        position_if!("target"),
        logged!("ended", "$1", "NULL", "$2"),
        ", ended AS (",
        set_ended!("$2", "p.n", "$4", "$5", "$6"),
        "FROM position p WHERE s.id = $1 AND s.ended_at IS NULL) \
         SELECT p.n, t.live FROM position p, target t"
    );

    /// Locks the counter if the user, `$1`, has a session that has not ended.
    LOCK_FOR_USER = lock_if_any!(concat!("s.user_id = $1 AND ", unended!()));

    /// Sets a mark for a user who has a session that has not ended. The newest are looked at first: those made after an earlier mark are found
    /// at once.
    REVOKE_USER = concat!(
        "WITH found AS (SELECT 1 FROM hp.hallpass_sessions s WHERE s.user_id = $1 AND ",
        unended!(),
        " ORDER BY s.id DESC LIMIT 1), ",
        position_if!("found"),
        logged!("user", "NULL", "$1", "$2"),
        ", marked AS (INSERT INTO hp.hallpass_marks (n, user_id, at, by_kind, by_name, reason, fenced) \
         SELECT p.n, $1, $2, $3, $4, $5, true FROM position p) SELECT p.n FROM position p"
    );

    /// Locks the counter if the user, `$1`, has another session than `$2` that has not ended.
    LOCK_FOR_OTHERS = lock_if_any!(concat!("s.user_id = $1 AND s.id <> $2 AND ", unended!()));

    /// Sets a mark for all of a user's sessions but one, `$3`, which is lifted over it. Answers whether that one lives, and the position.
    REVOKE_OTHERS = concat!(
        "WITH kept AS (SELECT 1 FROM hp.hallpass_sessions s WHERE s.id = $3 AND s.user_id = $1 AND ",
        live!("$2"),
        "), found AS (SELECT 1 FROM hp.hallpass_sessions s WHERE s.user_id = $1 AND s.id <> $3 AND ",
        unended!(),
        " ORDER BY s.id DESC LIMIT 1), ",
        position_if!("kept", "found"),
        logged!("user", "NULL", "$1", "$2"),
        ", marked AS (INSERT INTO hp.hallpass_marks (n, user_id, at, by_kind, by_name, reason, fenced) \
         SELECT p.n, $1, $2, $4, $5, $6, true FROM position p), \
         lifted AS (UPDATE hp.hallpass_sessions s SET epoch = p.n FROM position p WHERE s.id = $3 AND s.ended_at IS NULL) \
         SELECT EXISTS (SELECT 1 FROM kept), (SELECT p.n FROM position p)"
    );

    /// Sets a mark for everyone.
    REVOKE_EVERYONE = concat!(
        "WITH ",
        position_if!(),
        logged!("everyone", "NULL", "NULL", "$1"),
        ", marked AS (INSERT INTO hp.hallpass_marks (n, user_id, at, by_kind, by_name, reason) \
         SELECT p.n, '', $1, $2, $3, $4 FROM position p) SELECT p.n FROM position p"
    );

    /// How many sessions of the user, `$1`, a mark, `$3`, ended: behind it, behind no earlier one, and not expired when it was set, `$2`. Rows that
    /// were settled meanwhile carry its position.
    ENDED_BY_MARK = "SELECT (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.user_id = $1 AND s.ended_at IS NULL AND s.epoch < $3 \
         AND s.idle_expires_at > $2 \
         AND s.epoch >= coalesce((SELECT max(m.n) FROM hp.hallpass_marks m WHERE m.user_id = $1 AND m.n < $3), 0) \
         AND s.epoch >= coalesce((SELECT max(m.n) FROM hp.hallpass_marks m WHERE m.user_id = '' AND m.n < $3), 0)) \
         + (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.user_id = $1 AND s.ended_at IS NOT NULL AND s.ended_position = $3 \
         AND s.idle_expires_at > $2)";

    /// The earliest mark that is not settled: its position, whose, and whether it is fenced.
    FIRST_MARK = "SELECT k.n, k.user_id, k.fenced FROM hp.hallpass_marks k ORDER BY k.n LIMIT 1";

    /// Once every creation that held the lock of [`LOCK_CREATION`] has ended.
    FENCE = "UPDATE hp.hallpass_marks SET fenced = true WHERE NOT fenced";

    /// A step of settling a user's mark; `$3` is the user.
    SETTLE_USER = settle!("s.user_id = $3 AND s.ended_at IS NULL");

    /// A step of settling a mark of everyone. Walks over ended rows too, each once.
    SETTLE_EVERYONE = settle!("true");

    /// Looks at the rows that are due from `$3` up to `$1`, at most `$2`; removes the expired ones, and moves those that were renewed since to their
    /// deadline. Answers how many were due, removed and moved, from when on the next ones are due, and whether a mark waits to be settled: then it does nothing. Sweepers
    /// at once take different rows. By place and not by id: a row that somebody changed since it was looked at is not there any more, and not dead.
    SWEEP_EXPIRED = "WITH due AS (SELECT s.ctid AS place, s.due_at, s.idle_expires_at FROM hp.hallpass_sessions s \
         WHERE s.ended_at IS NULL AND s.due_at <= $1 AND s.due_at >= $3 AND NOT EXISTS (SELECT 1 FROM hp.hallpass_marks) \
         ORDER BY s.due_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED), \
         removed AS (DELETE FROM hp.hallpass_sessions s WHERE s.ctid = ANY(ARRAY(SELECT d.place FROM due d WHERE d.idle_expires_at <= d.due_at)) \
         RETURNING 1), \
         moved AS (UPDATE hp.hallpass_sessions s SET due_at = s.idle_expires_at WHERE s.ctid = ANY(ARRAY(SELECT d.place FROM due d \
         WHERE d.idle_expires_at > d.due_at)) RETURNING 1) \
         SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM removed), (SELECT count(*) FROM moved), (SELECT least(max(d.due_at), \
         min(d.idle_expires_at) FILTER (WHERE d.idle_expires_at > d.due_at)) FROM due d), \
         EXISTS (SELECT 1 FROM hp.hallpass_marks)";

    /// Removes rows that ended from `$3` up to `$1`, at most `$2`, oldest first.
    /// Answers as [`SWEEP_EXPIRED`] does.
    SWEEP_ENDED = "WITH dead AS (SELECT s.ctid AS place, s.ended_at FROM hp.hallpass_sessions s WHERE s.ended_at IS NOT NULL AND s.ended_at <= $1 \
         AND s.ended_at >= $3 ORDER BY s.ended_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED), \
         removed AS (DELETE FROM hp.hallpass_sessions s WHERE s.ctid = ANY(ARRAY(SELECT d.place FROM dead d)) RETURNING 1) \
         SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM removed), 0::bigint, (SELECT max(d.ended_at) FROM dead d), false";

    /// Cuts the beginning of the log, at most `$2` entries, up to the first one later than `$1`, so that it never has a gap. One at a time (`$3`).
    SWEEP_LOG = "WITH head AS (SELECT r.n, r.at FROM hp.hallpass_revocations r WHERE (SELECT pg_try_advisory_xact_lock($3)) \
         ORDER BY r.n LIMIT $2), \
         removed AS (DELETE FROM hp.hallpass_revocations r WHERE r.n <= (SELECT max(h.n) FROM head h) \
         AND r.n < coalesce((SELECT min(h.n) FROM head h WHERE h.at > $1), 9223372036854775807) RETURNING 1) \
         SELECT count(*) FROM removed";

    /// How many rows a sweep would remove.
    SWEEPABLE = "SELECT (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.ended_at IS NULL AND s.due_at <= $1 AND s.idle_expires_at <= $1) \
         + (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.ended_at IS NOT NULL AND s.ended_at <= $2)";

    /// A page of one user's live sessions, from `$2` on.
    LIST_LIVE_OF_USER = concat!(
        session!(),
        "WHERE s.user_id = $1 AND s.id <= $2 AND ($4 IS NULL OR s.class = $4) AND ",
        live!("$3"),
        " ORDER BY s.id DESC LIMIT $5"
    );

    /// A page of one user's sessions, ended ones too: both partial indexes, merged in order.
    LIST_OF_USER = concat!(
        "(", session!(),
        "WHERE s.user_id = $1 AND s.id <= $2 AND ($3 IS NULL OR s.class = $3) AND s.ended_at IS NULL ORDER BY s.id DESC LIMIT $4) UNION ALL (",
        session!(),
        "WHERE s.user_id = $1 AND s.id <= $2 AND ($3 IS NULL OR s.class = $3) AND s.ended_at IS NOT NULL ORDER BY s.id DESC LIMIT $4) \
         ORDER BY 1 DESC LIMIT $4"
    );

    /// A page of everybody's live sessions.
    LIST_LIVE = concat!(
        session!(),
        "WHERE s.id <= $1 AND ($3 IS NULL OR s.class = $3) AND ",
        live!("$2"),
        " ORDER BY s.id DESC LIMIT $4"
    );

    /// A page of everybody's sessions, ended ones too.
    LIST = concat!(session!(), "WHERE s.id <= $1 AND ($2 IS NULL OR s.class = $2) ORDER BY s.id DESC LIMIT $3");

    /// How many live sessions a user has.
    COUNT_LIVE_OF_USER = concat!(
        "SELECT count(*) FROM hp.hallpass_sessions s WHERE s.user_id = $1 AND ($3 IS NULL OR s.class = $3) AND ",
        live!("$2")
    );

    /// How many sessions a user has, ended ones too.
    COUNT_OF_USER = "SELECT (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.user_id = $1 AND s.ended_at IS NULL \
         AND ($2 IS NULL OR s.class = $2)) + (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.user_id = $1 \
         AND s.ended_at IS NOT NULL AND ($2 IS NULL OR s.class = $2))";

    /// How many live sessions there are.
    COUNT_LIVE =
        concat!("SELECT count(*) FROM hp.hallpass_sessions s WHERE ($2 IS NULL OR s.class = $2) AND ", live!("$1"));

    /// How many sessions there are, ended ones too.
    COUNT = "SELECT count(*) FROM hp.hallpass_sessions s WHERE ($1 IS NULL OR s.class = $1)";

    /// How many live sessions there are while no mark waits to be settled: a row that is not due is live, which the index alone tells.
    COUNT_LIVE_WITHOUT_MARKS = "SELECT (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.ended_at IS NULL AND s.due_at > $1) \
         + (SELECT count(*) FROM hp.hallpass_sessions s WHERE s.ended_at IS NULL AND s.due_at <= $1 AND s.idle_expires_at > $1)";

    /// The log after `$1`, at most `$2` entries, with whose log it is, its newest position, and the oldest that is kept. One row without an
    /// entry if there is none.
    LOG = "SELECT c.incarnation, c.n, coalesce((SELECT min(r.n) FROM hp.hallpass_revocations r), c.n + 1), c.tableoid::bigint, \
         e.n, e.kind, e.session_id, e.user_id, e.at FROM hp.hallpass_counter c LEFT JOIN LATERAL (SELECT r.* \
         FROM hp.hallpass_revocations r WHERE r.n > $1 ORDER BY r.n LIMIT $2) e ON true WHERE c.one = 1 ORDER BY e.n";

    /// Enters a node, or enters it anew.
    REGISTER_NODE = "INSERT INTO hp.hallpass_nodes AS d (id, lease, reached, beats, digest) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT ON CONSTRAINT hallpass_nodes_key DO UPDATE SET lease = $2, reached = $3, beats = $4, digest = $5";

    /// What a node that is there tells.
    HEARTBEAT = "UPDATE hp.hallpass_nodes d SET lease = $2, reached = $3, beats = $4, digest = $5 WHERE d.id = $1 RETURNING 1";

    /// The registry.
    NODES = "SELECT d.id, d.lease, d.reached, d.beats, d.digest FROM hp.hallpass_nodes d";

    /// Removes a node that has told nothing more.
    FORGET_NODE = "DELETE FROM hp.hallpass_nodes d WHERE d.id = $1 AND d.beats = $2 RETURNING 1";

    /// Tells whoever listens on the channel, `$1`; `$2` is empty for a hint.
    HINT = "SELECT pg_notify($1, $2)";

    /// Which cluster this is and which of its timelines: another one after a restore or a failover.
    HISTORY = "SELECT s.system_identifier::text || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system() s";

    /// How many marks wait to be settled.
    COUNT_MARKS = "SELECT count(*) FROM hp.hallpass_marks";

    /// What health tells of the server and the table: clock, sizes, and how many updates were heap-only.
    FACTS = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, current_database()::text, \
         coalesce(pg_total_relation_size('hp.hallpass_sessions'), 0), \
         coalesce(t.n_tup_upd, 0), coalesce(t.n_tup_hot_upd, 0), coalesce(t.n_dead_tup, 0), \
         current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), \
         current_setting('synchronous_standby_names'), current_setting('max_connections') \
         FROM (SELECT 1) one LEFT JOIN pg_stat_user_tables t ON t.relid = 'hp.hallpass_sessions'::regclass";
}
