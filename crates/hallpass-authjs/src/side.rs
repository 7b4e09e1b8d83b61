//! Where hallpass's own tables lie beside those of an application, and whether they may lie there.
//!
//! A place belongs to one application: what hallpass knows of a user is found by the id that the application gave it, and two applications give the same ids. So the
//! usual places of two applications are never one, and a place keeps [whose it is](crate::side_tables).

use std::path::{Path, PathBuf};

use hallpass_core::StoreError;

use crate::catalogue::Engine;
use crate::connection::corrupt;

/// The schema beside the tables of an application in the schema `public`, and the end of every other usual name.
const SIDE: &str = "hallpass";
/// As what a connection to SQLite knows the file.
pub(crate) const ATTACHED: &str = "hallpass";
/// How long a name of PostgreSQL is at most, in bytes. It cuts a longer one, and then it may be the application's.
const MAX_SCHEMA: usize = 63;
/// The same for MariaDB and MySQL, in characters.
const MAX_DATABASE: usize = 64;
/// What SQLite keeps beside a database while it is open.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Where hallpass's own tables lie beside those of an application ([`AuthjsOptions::side`](crate::AuthjsOptions::side)), for programs that keep more there than sessions.
#[derive(Debug)]
pub struct Side;

impl Side {
    /// The file beside an application's: `app.hallpass.db` beside `app.db`, and `app.sqlite-hallpass.db` beside `app.sqlite`, so that no two files of applications in one
    /// directory have the same.
    #[must_use]
    pub fn file(application: &Path, chosen: Option<&str>) -> PathBuf {
        if let Some(chosen) = chosen {
            return PathBuf::from(chosen);
        }
        if application.extension().is_some_and(|extension| extension == "db") {
            return application.with_extension(format!("{SIDE}.db"));
        }
        let mut name = application.as_os_str().to_owned();
        name.push(format!("-{SIDE}.db"));
        PathBuf::from(name)
    }

    /// The schema beside the schema of an application, in a database of PostgreSQL: `hallpass` beside `public`, and `app_hallpass` beside `app`.
    #[must_use]
    pub fn schema(application: &str, chosen: Option<&str>) -> String {
        match (chosen, application) {
            (Some(chosen), _) => chosen.to_owned(),
            (None, "public") => SIDE.to_owned(),
            (None, application) => format!("{application}_{SIDE}"),
        }
    }

    /// The database beside an application's, on its server of MariaDB or MySQL.
    #[must_use]
    pub fn database(application: &str, chosen: Option<&str>) -> String {
        chosen.map_or_else(|| format!("{application}_{SIDE}"), str::to_owned)
    }
}

/// The place of our tables, known to be none of the application's.
#[derive(Debug)]
pub(crate) struct Place {
    /// The engine's word for such a place.
    kind: &'static str,
    name: String,
    /// In which place of that kind the application is.
    pub(crate) application: String,
    /// Makes it, where that is a statement.
    pub(crate) making: Option<String>,
}

impl Place {
    /// The schema `side` beside the schema `application`.
    pub(crate) fn schema(side: String, application: &str) -> Result<Self, StoreError> {
        let is_too_long = side.len() > MAX_SCHEMA;
        Self::of_server(Engine::Postgres, "schema", side, application, is_too_long)
    }

    /// The database `side` beside the database `application`.
    pub(crate) fn database(side: String, application: &str) -> Result<Self, StoreError> {
        let is_too_long = side.chars().count() > MAX_DATABASE;
        Self::of_server(Engine::Mysql, "database", side, application, is_too_long)
    }

    fn of_server(
        engine: Engine,
        kind: &'static str,
        side: String,
        application: &str,
        is_too_long: bool,
    ) -> Result<Self, StoreError> {
        // Names of MySQL that differ in case are one on some servers.
        let is_same =
            if engine == Engine::Mysql { side.eq_ignore_ascii_case(application) } else { side == application };
        if is_same {
            return Err(of_the_application(kind, &side));
        }
        if side.is_empty() || is_too_long {
            return Err(corrupt(format!(
                "the {kind} {side:?} cannot be the place of hallpass's own tables, since its name is empty or too long; {OTHER}"
            )));
        }
        let making = format!("CREATE {} IF NOT EXISTS {}", kind.to_uppercase(), engine.quoted(&side));
        Ok(Self { kind, name: side, application: application.to_owned(), making: Some(making) })
    }

    /// The file `side` beside the file `application`, which is there. Asks the file system, and makes nothing.
    pub(crate) fn file(side: &Path, application: &Path) -> Result<Self, StoreError> {
        let text = side.to_string_lossy();
        // SQLite takes these for something else than a file of this name; an empty name is a file that is gone when it is closed.
        if text.is_empty() || text.starts_with(':') || text.starts_with("file:") {
            return Err(corrupt(format!(
                "{text:?} is not the path of a file, and hallpass's own tables have to last; {OTHER}"
            )));
        }
        if is_same_file(side, application) {
            return Err(of_the_application("file", &text));
        }
        let (beside, theirs) = (real(side), real(application));
        // By its name alone where both lie in one directory, so that they can be moved or copied together.
        let application = match theirs.file_name() {
            Some(name) if theirs.parent() == beside.parent() => name.to_string_lossy().into_owned(),
            _ => theirs.to_string_lossy().into_owned(),
        };
        Ok(Self { kind: "file", name: text.into_owned(), application, making: None })
    }

    /// Refuses a place that is another application's.
    pub(crate) fn check_owner(&self, owner: &str, engine: Engine, connected_to: &str) -> Result<(), StoreError> {
        if owner == self.application {
            return Ok(());
        }
        let Self { kind, name, application, .. } = self;
        let table = match engine {
            Engine::Sqlite => String::from("hallpass_application"),
            Engine::Postgres | Engine::Mysql => format!("{}.hallpass_application", engine.quoted(name)),
        };
        let quoted = application.replace('\'', "''");
        Err(corrupt(format!(
            "{connected_to}: the {kind} {name} holds hallpass's own tables of the application in the {kind} {owner}, and this application is in the {kind} {application}: the \
             sessions and users of one would be those of the other; {OTHER}; if it is the same application under another name, say so there: \
             UPDATE {table} SET name = '{quoted}'"
        )))
    }
}

const OTHER: &str = "name another place for them (`side=` in the server's URL, `AuthjsOptions::side`)";

fn of_the_application(kind: &str, name: &str) -> StoreError {
    corrupt(format!(
        "the {kind} {name} is the application's own, whose migrations may drop what else is in it: no place of hallpass's own tables; {OTHER}, or leave it out for the usual one"
    ))
}

/// The refusal of a file that another program has made.
pub(crate) fn of_another_program(file: &Path, table: &str) -> StoreError {
    corrupt(format!(
        "the file {} holds the table {table}, which hallpass has not made: no place of its own tables; {OTHER}",
        file.display()
    ))
}

/// Without links and dots; of a file that is not there, where it would be.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match (parent.canonicalize(), path.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// Whether one is the other, or a file that SQLite keeps beside it.
fn is_same_file(side: &Path, application: &Path) -> bool {
    let (beside, theirs) = (real(side), real(application));
    let is_companion = COMPANIONS.iter().any(|companion| {
        let mut name = theirs.clone().into_os_string();
        name.push(companion);
        beside.as_os_str() == name
    });
    beside == theirs || is_companion || is_one_inode(side, application)
}

/// Two names of one file: a hard link, or a file system that ignores case.
#[cfg(unix)]
fn is_one_inode(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let inode = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(not(unix))]
const fn is_one_inode(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_applications_have_one_usual_place() {
        let files = ["app.db", "app.sqlite", "app", "app.sqlite.db", "app2.db", "app.hallpass.db", ".db", "app.DB"];
        let sides: std::collections::BTreeSet<_> = files.iter().map(|file| Side::file(Path::new(file), None)).collect();
        assert_eq!(sides.len(), files.len(), "{sides:?}");
        assert_eq!(Side::file(Path::new("/srv/app.db"), None), Path::new("/srv/app.hallpass.db"));
        assert_eq!(Side::file(Path::new("/srv/app.sqlite"), None), Path::new("/srv/app.sqlite-hallpass.db"));
        assert_eq!(Side::file(Path::new("app.db"), Some("other")), Path::new("other"));
        assert_eq!((Side::schema("public", None), Side::schema("a", None)), ("hallpass".into(), "a_hallpass".into()));
        assert_eq!((Side::schema("a", Some("b")), Side::database("a", None)), ("b".into(), "a_hallpass".into()));
    }

    #[test]
    fn a_name_that_the_engine_would_cut_is_refused() {
        let long = "a".repeat(60);
        let refused = Place::schema(Side::schema(&long, None), &long).unwrap_err().to_string();
        assert!(refused.contains("too long") && refused.contains("side="), "{refused}");
        assert!(Place::database(Side::database(&long, None), &long).is_err());
        assert!(Place::schema(String::new(), "public").is_err());
        assert!(Place::schema("Public".into(), "public").is_ok(), "another schema");
        assert!(Place::database("App".into(), "app").is_err(), "one database on some servers");
    }
}
