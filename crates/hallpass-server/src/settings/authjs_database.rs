//! The database of an application with Auth.js: the URL of an SQL database after `authjs+`, with what no catalogue tells among its parameters.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::database::{Database, SqlDatabase};
use super::values::Problem;

/// What such a URL begins with.
pub(super) const PREFIX: &str = "authjs+";

/// A database whose sessions and users are an application's.
#[derive(Clone)]
pub struct AuthjsDatabase {
    /// Where the application's tables are.
    pub tables: SqlDatabase,
    /// Whether its sessions hold SHA-256 of each token and not the token (`tokens=sha256`), as the adapter `hallpass-authjs-adapter` makes it.
    pub hashes_tokens: bool,
    /// Where our own tables are (`side=`), where that is not the usual place: a schema, a database or a file.
    pub side: Option<String>,
}

impl AuthjsDatabase {
    /// Reads what follows [`PREFIX`].
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let (url, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut hashes_tokens, mut side, mut rest) = (false, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match url::form_urlencoded::parse(pair.as_bytes()).next() {
                Some((name, value)) if name == "tokens" => {
                    hashes_tokens = match &*value {
                        "plain" => false,
                        "sha256" => true,
                        _ => {
                            return Err((
                                "its parameter tokens is none of its words".to_owned(),
                                "write tokens=sha256 where the application uses hallpass-authjs-adapter with hash: true, and nothing or \
                                 tokens=plain otherwise"
                                    .to_owned(),
                            ));
                        }
                    }
                }
                Some((name, value)) if name == "side" => side = Some(value.into_owned()),
                // As it is: it may be a password.
                _ => rest.push(pair),
            }
        }
        let of_tables = if rest.is_empty() { url.to_owned() } else { format!("{url}?{}", rest.join("&")) };
        let Database::Sql(tables) = Database::parse(&of_tables)? else {
            return Err((
                "Auth.js keeps its sessions in SQL here".to_owned(),
                "name its database as authjs+postgres://..., authjs+mysql://... or authjs+sqlite:...".to_owned(),
            ));
        };
        if let Some(side) = &side {
            check_side(&tables, side)?;
        }
        Ok(Self { tables, hashes_tokens, side })
    }
}

/// Refuses what cannot be the place of our own tables, as far as the text alone says it; the rest is found at the opening.
fn check_side(tables: &SqlDatabase, side: &str) -> Result<(), Problem> {
    let is_name = side.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)) && side.len() <= 63;
    let (sound, is_theirs, what) = match tables {
        // SQLite keeps nothing of what begins with a colon, and takes `file:` for a URI.
        SqlDatabase::Sqlite(path) => (
            !side.contains('\0') && !side.starts_with(':') && !side.starts_with("file:"),
            without_dots(Path::new(side)) == without_dots(path),
            "the path of another file",
        ),
        SqlDatabase::Postgres(url) => {
            let address = hallpass_postgres::Address::parse(url.expose());
            let is_theirs = address.is_ok_and(|address| address.schema().unwrap_or("public") == side);
            (is_name, is_theirs, "a schema of 1 to 63 letters, digits, _ and -")
        }
        SqlDatabase::Mysql(url) => {
            let is_theirs = url::Url::parse(url.expose())
                .is_ok_and(|url| url.path().trim_start_matches('/').eq_ignore_ascii_case(side));
            (is_name, is_theirs, "a database of 1 to 63 letters, digits, _ and -")
        }
    };
    if is_theirs {
        return Err((
            "its parameter side names the place of the application's own tables, and its migrations may drop what else is there".to_owned(),
            format!("name {what} that is not the application's, or leave side out for the usual place"),
        ));
    }
    if sound && !side.is_empty() {
        return Ok(());
    }
    Err(("its parameter side cannot be the place of hallpass's own tables".to_owned(), format!("name {what}")))
}

/// A path without the dots that lead nowhere.
fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

impl fmt::Display for AuthjsDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.tables)
    }
}

impl fmt::Debug for AuthjsDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> AuthjsDatabase {
        match Database::parse(text) {
            Ok(Database::Authjs(database)) => database,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_ours_is_taken_out_and_the_rest_reaches_who_connects() {
        let database = read("authjs+postgres://u:hunter2@h/d?tokens=sha256&sslmode=require&side=aside&schema=x%79");
        let SqlDatabase::Postgres(url) = &database.tables else { panic!() };
        assert_eq!(url.expose(), "postgres://u:hunter2@h/d?sslmode=require&schema=x%79");
        assert_eq!((database.hashes_tokens, database.side.as_deref()), (true, Some("aside")));
        assert_eq!(
            (database.to_string(), format!("{database:?}")),
            (shown("postgres://h:5432/d"), shown("postgres://h:5432/d"))
        );
        let plain = read("authjs+sqlite:/srv/app.db?tokens=plain");
        assert_eq!(
            (plain.hashes_tokens, plain.side.as_deref(), plain.to_string()),
            (false, None, shown("sqlite:/srv/app.db"))
        );
        assert!(!read("authjs+mariadb://u@h/d").hashes_tokens);
        for sound in [
            "authjs+postgres://u@h/public?schema=a&side=public",
            "authjs+postgres://u@h/a?side=a",
            "authjs+mysql://u@h/d?side=dd",
            "authjs+sqlite:app.db?side=data/app.db",
        ] {
            assert!(read(sound).side.is_some(), "{sound}");
        }
    }

    fn shown(of: &str) -> String {
        format!("authjs+{of}")
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_is_repeated() {
        for (text, words) in [
            ("authjs+redis://u:hunter2@h", "in SQL"),
            ("authjs+authjs+sqlite:hunter2", "in SQL"),
            ("authjs+postgres://u:hunter2@h/d?tokens=hunter2", "tokens"),
            ("authjs+postgres://u:hunter2@h/d?side=hunter2%22", "side"),
            ("authjs+mysql://u:hunter2@h/d?side=", "side"),
            ("authjs+sqlite:app.db?side=app.db", "side names the place of the application's own"),
            ("authjs+sqlite:app.db?side=./app.db", "side names the place of the application's own"),
            ("authjs+sqlite:./data/app.db?side=data/./app.db", "side names the place of the application's own"),
            ("authjs+sqlite:app.db?side=:memory:", "side cannot be"),
            ("authjs+sqlite:app.db?side=file:hunter2?mode=memory", "side cannot be"),
            ("authjs+postgres://u:hunter2@h/d?side=public", "side names the place of the application's own"),
            ("authjs+postgres://u:hunter2@h/d?schema=a&side=a", "side names the place of the application's own"),
            ("authjs+mysql://u:hunter2@h/app?side=app", "side names the place of the application's own"),
            ("authjs+mysql://u:hunter2@h/app?side=App", "side names the place of the application's own"),
            ("authjs+sqlite:app.db?hunter2", "parameters"),
            ("authjs+postgre://u:hunter2@h/d", "postgre"),
            ("authjs+", "no scheme"),
        ] {
            let (what, fix) = Database::parse(text).unwrap_err();
            assert!(what.contains(words), "{text}: {what}");
            assert!(!format!("{what}{fix}").contains("hunter2"), "{text}: {what}; {fix}");
        }
    }
}
