//! How statements are written for one layout on one engine.

use hallpass_core::{Timestamp, UserId};
use uuid::Uuid;

use crate::catalogue::{Column, Engine};
use crate::connection::Value;
use crate::layout::{Expires, Layout, Maker};

/// The last moment that is written, but into MySQL's TIMESTAMP: the last that jiff can say, a day before the end of the year 9999.
const LAST: i64 = 253_402_207_200_999;
/// The last moment of MySQL's TIMESTAMP, and the first.
const LAST_OF_TIMESTAMP: i64 = 2_147_483_647_000;
const FIRST_OF_TIMESTAMP: i64 = 1_000;

/// How a moment is written into a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the column's type says it.
    Native,
    /// SQLite: milliseconds.
    Integer,
    /// SQLite: ISO 8601.
    Text,
}

/// What a user's id is in the application's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UserKind {
    Text,
    Number,
    Uuid,
}

/// The words of one layout. Statements have places in braces for what differs:
///
/// | | |
/// |---|---|
/// | `{shared}` | the application's table of sessions |
/// | `{token}`, `{user}`, `{raw_expires}` | its columns |
/// | `{user_text}` | the user as text |
/// | `{expires}` | the moment of expiry in milliseconds |
/// | `{created}` | the moment of creation in milliseconds, NULL where the layout has none |
/// | `{form}` | in which form the row has its moments |
/// | `{expired}` | whether it expired at a moment or before, a value as [`Dialect::bound`] gives it |
/// | `{moment}` | a value that [`Dialect::moment`] gives |
/// | `{is_user}` | the user is a value that [`Dialect::user`] gives |
/// | `{find_user}` | looks for that user among the application's |
/// | `hp.` | the place of hallpass's own tables |
#[derive(Debug)]
pub(crate) struct Dialect {
    pub(crate) layout: Layout,
    words: Vec<(&'static str, String)>,
    user: UserKind,
    /// In which form a new row has its moments.
    form: Form,
    /// How text says that it is in UTC.
    utc: &'static str,
    fraction: u8,
    bounds: (i64, i64),
}

impl Dialect {
    /// `place` is the schema or database of the application's tables, where they need one, and `side` that of hallpass's.
    pub(crate) fn new(layout: Layout, place: Option<&str>, side: &str) -> Self {
        let engine = layout.engine;
        let quoted = |name: &str| engine.quoted(name);
        let table = quoted(&layout.sessions);
        let shared = place.map_or_else(|| table.clone(), |place| format!("{}.{table}", quoted(place)));
        let (token, user, expires) = (quoted("sessionToken"), quoted("userId"), quoted("expires"));
        let kind = |name: &str| layout.table.column(name).map_or("", |column: &Column| column.kind.as_str());
        let user_kind = match () {
            () if layout.has_numbered_users => UserKind::Number,
            // Elsewhere it is a word for text.
            () if engine == Engine::Postgres && kind("userId") == "uuid" => UserKind::Uuid,
            () => UserKind::Text,
        };
        let user_text = match engine {
            Engine::Mysql => format!("CAST({user} AS CHAR)"),
            Engine::Sqlite | Engine::Postgres => format!("CAST({user} AS text)"),
        };
        let is_user = match user_kind {
            UserKind::Uuid => format!("{user} = CAST(? AS uuid)"),
            UserKind::Text | UserKind::Number => format!("{user} = ?"),
        };
        let (moment, expired) = match engine {
            Engine::Postgres => {
                let zone = if layout.expires == Expires::TimestampWithTimeZone { "timestamptz" } else { "timestamp" };
                (format!("CAST(? AS {zone})"), format!("{expires} <= CAST(? AS {zone})"))
            }
            Engine::Mysql => ("?".to_owned(), format!("{expires} <= ?")),
            Engine::Sqlite => ("?".to_owned(), format!("{} <= ?", millis(engine, &expires))),
        };
        let created = match layout.table.column("createdAt") {
            Some(column) => millis(engine, &quoted(&column.name)),
            None => "NULL".to_owned(),
        };
        let form = match engine {
            Engine::Sqlite => format!("typeof({expires})"),
            Engine::Postgres | Engine::Mysql => "'native'".to_owned(),
        };
        let users =
            place.map_or_else(|| quoted(&layout.users), |place| format!("{}.{}", quoted(place), quoted(&layout.users)));
        let find_user = format!("SELECT 1 FROM {users} WHERE {}", is_user.replace(&user, &quoted("id")));
        let words = vec![
            ("{shared}", shared),
            ("{token}", token),
            ("{user}", user),
            ("{user_text}", user_text),
            ("{is_user}", is_user),
            ("{find_user}", find_user),
            ("{raw_expires}", expires.clone()),
            ("{expires}", millis(engine, &expires)),
            ("{created}", created),
            ("{form}", form),
            ("{moment}", moment),
            ("{expired}", expired),
            ("hp.", format!("{}.hallpass_", quoted(side))),
        ];
        let fraction = match layout.expires {
            Expires::Timestamp { fraction } => fraction.min(3),
            Expires::TimestampWithTimeZone | Expires::PerRow => 3,
        };
        let is_short = engine == Engine::Mysql && kind("expires").starts_with("timestamp");
        let bounds = if is_short { (FIRST_OF_TIMESTAMP, LAST_OF_TIMESTAMP) } else { (0, LAST) };
        let (form, utc) = (new_form(&layout), if layout.maker == Maker::Kysely { "Z" } else { "+00:00" });
        Self { layout, words, user: user_kind, form, utc, fraction, bounds }
    }

    /// A statement, with the words of this layout.
    pub(crate) fn sql(&self, template: &str) -> String {
        self.words.iter().fold(template.to_owned(), |sql, (place, word)| sql.replace(place, word))
    }

    /// The form of a new row.
    pub(crate) const fn new_form(&self) -> Form {
        self.form
    }

    /// The moment that a row of this layout can hold, at or before `time`.
    pub(crate) fn stored(&self, time: Timestamp) -> Timestamp {
        let unit = 10_i64.pow(3 - u32::from(self.fraction));
        let (first, last) = self.bounds;
        let millis = time.as_millis().clamp(first, last);
        Timestamp::from_millis(millis - millis.rem_euclid(unit))
    }

    /// The last moment that can be stored: what is later was meant to be later.
    pub(crate) fn is_beyond(&self, time: Timestamp) -> bool {
        time.as_millis() > self.bounds.1
    }

    /// A moment to write into a row.
    pub(crate) fn moment(&self, time: Timestamp, form: Form) -> Value {
        let millis = self.stored(time).as_millis();
        match (form, self.layout.engine) {
            (Form::Integer, _) => Value::Integer(millis),
            (Form::Text, _) => text(millis, "%Y-%m-%dT%H:%M:%S%.3f", self.utc),
            (Form::Native, Engine::Postgres) if self.layout.expires == Expires::TimestampWithTimeZone => {
                text(millis, "%Y-%m-%d %H:%M:%S%.3f", "+00")
            }
            (Form::Native, _) if self.fraction == 0 => text(millis, "%Y-%m-%d %H:%M:%S", ""),
            (Form::Native, _) => text(millis, "%Y-%m-%d %H:%M:%S%.3f", ""),
        }
    }

    /// A moment to compare `{expired}` with.
    pub(crate) fn bound(&self, time: Timestamp) -> Value {
        let (first, last) = self.bounds;
        let millis = time.as_millis().clamp(first, last);
        match self.layout.engine {
            Engine::Sqlite => Value::Integer(millis),
            Engine::Postgres if self.layout.expires == Expires::TimestampWithTimeZone => {
                text(millis, "%Y-%m-%d %H:%M:%S%.3f", "+00")
            }
            Engine::Postgres | Engine::Mysql => text(millis, "%Y-%m-%d %H:%M:%S%.3f", ""),
        }
    }

    /// A user's id as the application keeps it; `None` where it cannot be one of its.
    pub(crate) fn user(&self, user: &UserId) -> Option<Value> {
        let text = user.as_str();
        match self.user {
            UserKind::Text => Some(Value::from(text)),
            // "007" is another text than that of the number 7.
            UserKind::Number => text.parse::<i64>().ok().filter(|n| n.to_string() == text).map(Value::Integer),
            UserKind::Uuid => Uuid::try_parse(text).ok().filter(|id| id.to_string() == text).map(|_| Value::from(text)),
        }
    }

    /// The place of a user's id in a statement that writes one.
    pub(crate) const fn user_place(&self) -> &'static str {
        match self.user {
            UserKind::Uuid => "CAST(? AS uuid)",
            UserKind::Text | UserKind::Number => "?",
        }
    }

    /// The columns that a new row needs beside those of every layout, each with its place: a value of the session's id, or the moment of its creation.
    pub(crate) fn filled(&self) -> Vec<(String, Filled)> {
        let column = |name: &str| self.layout.table.column(name);
        let quoted = |name: &str| self.layout.engine.quoted(name);
        let mut filled = Vec::new();
        if let Some(id) = column("id").filter(|id| !id.has_default) {
            let is_uuid = self.layout.engine == Engine::Postgres && id.kind == "uuid";
            let place = if is_uuid { "CAST(? AS uuid)" } else { "?" };
            filled.push((quoted("id"), Filled::Id(place)));
        }
        for name in ["createdAt", "updatedAt"].into_iter().filter(|name| column(name).is_some()) {
            filled.push((quoted(name), Filled::Moment(self.moment_of(name))));
        }
        filled
    }

    /// The assignment that moves `updatedAt`, where there is one.
    pub(crate) fn touched(&self) -> Option<String> {
        self.layout.table.column("updatedAt")?;
        Some(format!(", {} = {}", self.layout.engine.quoted("updatedAt"), self.moment_of("updatedAt")))
    }

    fn moment_of(&self, name: &str) -> &'static str {
        match (self.layout.engine, self.layout.table.column(name)) {
            (Engine::Postgres, Some(column)) if column.kind.ends_with("with time zone") => "CAST(? AS timestamptz)",
            (Engine::Postgres, _) => "CAST(? AS timestamp)",
            _ => "?",
        }
    }
}

/// What a column of a new row is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// The session's id.
    Id(&'static str),
    /// The moment.
    Moment(&'static str),
}

impl Filled {
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Id(place) | Self::Moment(place) => place,
        }
    }
}

fn text(millis: i64, format: &str, suffix: &str) -> Value {
    // In bounds, so that there is such a moment.
    let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    Value::Text(format!("{}{suffix}", moment.strftime(format)))
}

/// A column's moment in milliseconds, whole ones that have begun. A moment beyond all time is later than any other.
fn millis(engine: Engine, column: &str) -> String {
    match engine {
        Engine::Postgres => format!(
            "(CASE WHEN isfinite({column}) THEN CAST(floor(extract(epoch FROM {column}) * 1000) AS bigint) \
             WHEN {column} > CAST('2000-01-01' AS date) THEN 9000000000000000000 ELSE 0 END)"
        ),
        Engine::Mysql => format!("(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', {column}) DIV 1000)"),
        // A number of days has room for a twentieth of a millisecond.
        Engine::Sqlite => format!(
            "(CASE typeof({column}) WHEN 'integer' THEN {column} \
             WHEN 'text' THEN CAST(round((julianday({column}) - 2440587.5) * 86400000.0) AS INTEGER) END)"
        ),
    }
}

/// As the rows that are there; as the maker's own where there are none, or both.
fn new_form(layout: &Layout) -> Form {
    if layout.engine != Engine::Sqlite {
        return Form::Native;
    }
    match layout.table.expires_forms.as_slice() {
        [one] if one == "integer" => Form::Integer,
        [one] if one == "text" => Form::Text,
        _ if layout.maker == Maker::Drizzle => Form::Integer,
        _ => Form::Text,
    }
}
