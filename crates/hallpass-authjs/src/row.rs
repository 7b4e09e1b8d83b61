//! Sessions to rows and back: one row of ours, and one of the application's.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::store::Record;
use hallpass_core::{
    Actor, ActorKind, Attributes, Authentication, Class, Client, EndReason, Ended, Label, Session, SessionId, State,
    Timestamp, Token, TokenHash, UserId,
};

use crate::connection::{Columns, Fault, Value};
use crate::dialect::{Dialect, Form};

/// What [`Row::of`] reads, from `hp.sessions h` and the application's table beside it.
pub(crate) const COLUMNS: &str = "h.id, h.token_hash, h.user_id, h.class, h.created_at, h.authenticated_at, h.renewed_at, h.last_seen_at, \
     h.idle_expires_at, h.absolute_expires_at, h.label, h.ip, h.user_agent, h.source, h.methods, h.attributes, h.attributes_version, \
     h.ended_at, h.ended_by_kind, h.ended_by, h.ended_reason, h.session_token, CASE WHEN {token} IS NULL THEN 0 ELSE 1 END, {expires}, {form}";

/// What [`Unknown::of`] reads, from the application's table.
pub(crate) const UNKNOWN_COLUMNS: &str = "{token}, {user_text}, {expires}, {created}";

/// A session with what a write has to know of its rows.
pub(crate) struct Row {
    pub(crate) record: Record,
    /// What the application's row is found by, as long as the session has not ended here.
    pub(crate) key: Option<String>,
    /// The moment in the application's row.
    pub(crate) expires: i64,
    /// In which form the application's row has it.
    pub(crate) form: Form,
}

impl Row {
    pub(crate) fn of(columns: &Columns, dialect: &Dialect, max_age: Duration) -> Result<Self, Fault> {
        let time = |index, name| columns.integer(index, name).map(Timestamp::from_millis);
        let mut session = Session {
            id: columns.parse(0, "id", |text| text.parse().ok())?,
            user: columns.parse(2, "user_id", |text| UserId::new(text).ok())?,
            class: columns.parse(3, "class", |text| Class::new(text).ok())?,
            created_at: time(4, "created_at")?,
            authenticated_at: time(5, "authenticated_at")?,
            renewed_at: time(6, "renewed_at")?,
            last_seen_at: time(7, "last_seen_at")?,
            idle_expires_at: time(8, "idle_expires_at")?,
            absolute_expires_at: time(9, "absolute_expires_at")?,
            label: columns.optional(10, "label", |text| Label::new(text).ok().flatten())?,
            client: Client {
                ip: columns.optional(11, "ip", |text| text.parse().ok())?,
                user_agent: columns.optional_text(12, "user_agent")?.map(Arc::from),
            },
            authentication: Arc::new(Authentication {
                source: columns.text(13, "source")?.to_owned(),
                methods: columns.parse(14, "methods", |text| serde_json::from_str(text).ok())?,
            }),
            attributes: columns.parse(15, "attributes", |text| Some(Attributes::from_stored(text)))?,
            attributes_version: columns.count(16, "attributes_version")?,
            state: State::Live,
        };
        let key = columns.optional_text(21, "session_token")?.map(str::to_owned);
        let is_shared = columns.integer(22, "sessionToken")? == 1;
        let form = match columns.optional_text(24, "expires")? {
            Some("integer") => Form::Integer,
            Some("text") => Form::Text,
            _ => Form::Native,
        };
        let mut expires = 0;
        if let Some(at) = columns.optional_integer(17, "ended_at")? {
            let by = Actor {
                kind: columns.parse(18, "ended_by_kind", ActorKind::parse)?,
                name: columns.text(19, "ended_by")?.to_owned(),
            };
            let reason = columns.parse(20, "ended_reason", EndReason::parse)?;
            session.state = State::Ended(Ended { at: Timestamp::from_millis(at), by, reason });
        } else if is_shared {
            expires = columns.integer(23, "expires")?;
            extended(&mut session, Timestamp::from_millis(expires), dialect, max_age);
        } else {
            session.state = State::Ended(ended_there(session.last_seen_at));
        }
        let hash = columns.parse(1, "token_hash", read_hash)?;
        Ok(Self { record: Record { session, token_hash: hash }, key, expires, form })
    }

    /// What the application's row is found by, if the session has ended on neither side.
    pub(crate) fn unended(&self) -> Option<&str> {
        self.key.as_deref().filter(|_| self.record.session.state == State::Live)
    }

    /// Whether the application's row is gone, and ours does not say so yet.
    pub(crate) fn is_orphan(&self) -> bool {
        self.key.is_some() && self.unended().is_none()
    }

    /// Whether the session was live by the deadlines in our row, whatever has become of the application's.
    pub(crate) fn was_live_at(&self, now: Timestamp) -> bool {
        Session { state: State::Live, ..self.record.session.clone() }.is_live_at(now)
    }
}

/// The end of a session whose row the application has deleted: its user signed out there, or was deleted.
pub(crate) fn ended_there(at: Timestamp) -> Ended {
    Ended { at, by: Actor::system("authjs"), reason: EndReason::SignedOut }
}

/// What the application's row says of the deadline, and with it of the last use: it may have been extended there.
fn extended(session: &mut Session, expires: Timestamp, dialect: &Dialect, max_age: Duration) {
    let written = session.idle_expires_at;
    if dialect.stored(written) != expires {
        // As Auth.js reckons it.
        session.renewed_at = expires.minus(max_age);
        session.last_seen_at = session.last_seen_at.max(session.renewed_at);
        session.idle_expires_at = expires;
    } else if !dialect.is_beyond(written) {
        session.idle_expires_at = expires;
    }
    session.idle_expires_at = session.idle_expires_at.min(session.absolute_expires_at);
}

/// A session that the application made, and hallpass has not seen.
pub(crate) struct Unknown {
    pub(crate) key: String,
    pub(crate) user: UserId,
    pub(crate) expires: Timestamp,
    pub(crate) created: Option<Timestamp>,
}

impl Unknown {
    /// `None` where a session needs what the row does not have: a user that can be one, or a moment that can be read.
    pub(crate) fn of(columns: &Columns) -> Result<Option<Self>, Fault> {
        let user = UserId::new(columns.text(1, "userId")?).ok();
        let expires = columns.optional_integer(2, "expires")?.map(Timestamp::from_millis);
        let created = columns.optional_integer(3, "createdAt")?.map(Timestamp::from_millis);
        let key = columns.text(0, "sessionToken")?.to_owned();
        Ok(user.zip(expires).map(|(user, expires)| Self { key, user, expires, created }))
    }
}

/// The moment that an id of ours names (RFC 9562, section 5.7).
pub(crate) fn moment_of(id: SessionId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// A digest as text, and what the token of one that is hashed at rest is kept as.
pub(crate) fn hash_text(hash: &TokenHash) -> String {
    hash.as_bytes().iter().fold(String::with_capacity(64), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
        text
    })
}

/// A digest from text.
pub(crate) fn read_hash(text: &str) -> Option<TokenHash> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(TokenHash::from_bytes(bytes))
}

/// The digest of a token that is kept as it is.
pub(crate) fn hash_of_plain(key: &str) -> Option<TokenHash> {
    let token = Token::parse(key.as_bytes()).or_else(|_| Token::parse_foreign(key.as_bytes()));
    token.ok().map(|token| token.digest())
}

/// The values of a new row of ours, in the order of [`INSERT`].
pub(crate) const INSERT: &str = "INSERT INTO hp.sessions (id, token_hash, session_token, user_id, class, created_at, authenticated_at, renewed_at, \
     last_seen_at, idle_expires_at, absolute_expires_at, label, ip, user_agent, source, methods, attributes, attributes_version) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(crate) fn values(record: &Record, key: &str) -> Vec<Value> {
    let Record { session, token_hash } = record;
    vec![
        id(session.id),
        hash_text(token_hash).into(),
        key.into(),
        session.user.as_str().into(),
        session.class.as_str().into(),
        time(session.created_at),
        time(session.authenticated_at),
        time(session.renewed_at),
        time(session.last_seen_at),
        time(session.idle_expires_at.min(session.absolute_expires_at)),
        time(session.absolute_expires_at),
        session.label.as_ref().map(|label| label.as_str().to_owned()).into(),
        session.client.ip.map(|ip| ip.to_string()).into(),
        session.client.user_agent.as_deref().map(str::to_owned).into(),
        session.authentication.source.as_str().into(),
        methods(&session.authentication).into(),
        session.attributes.to_json().into(),
        number(session.attributes_version),
    ]
}

/// The methods as JSON text.
pub(crate) fn methods(authentication: &Authentication) -> String {
    serde_json::to_string(&authentication.methods).unwrap_or_else(|_| String::from("[]"))
}

/// An id as a parameter.
pub(crate) fn id(id: SessionId) -> Value {
    Value::Text(id.to_string())
}

/// A time as a parameter.
pub(crate) fn time(time: Timestamp) -> Value {
    Value::Integer(time.as_millis())
}

/// A position or a count as a parameter; columns are signed.
pub(crate) fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
