//! [`Accounts`](super::Accounts) over the tables of an application with Auth.js: its users are the server's, and the accounts at providers that they sign in with there are
//! their identities here.
//!
//! What hallpass alone knows of a user (a password, whether it is an operator or disabled) lies in a table of our own, beside those of the sessions: a schema in PostgreSQL,
//! a database in MariaDB and MySQL, a file in SQLite. A user whom it knows nothing of is one all the same, without a password.
//!
//! Auth.js does not know that a user is disabled. The sessions end and hallpass lets nobody in; the application's own sign-in has to ask its `signIn` callback.

mod sqlite;
mod users;

use std::sync::Arc;

use hallpass_authjs::{Catalogue, Engine, Layout, Side};

use self::users::AuthjsUsers;
use super::sql::connection::Connector;
use super::{AccountsError, SqlAccounts, mysql, postgres};
use crate::settings::{AuthjsDatabase, ProviderSettings, SqlDatabase};

/// Opens the tables that were recognised in `catalogue`, which is the database's, and brings our own up to date. Identities are those at `providers`, which the
/// application calls by the same ids.
///
/// # Errors
/// [`AccountsError::Damaged`] when these are no tables of Auth.js; otherwise as for accounts of our own on that engine.
pub async fn open(
    database: &AuthjsDatabase,
    catalogue: &Catalogue,
    providers: &[ProviderSettings],
) -> Result<SqlAccounts, AccountsError> {
    let layout = Layout::recognise(catalogue).map_err(|error| {
        AccountsError::Damaged(format!("{database} is no database of Auth.js: {error}; `hallpass doctor` says more"))
    })?;
    let chosen = database.side.as_deref();
    let (place, connector): (String, Arc<dyn Connector>) = match &database.tables {
        SqlDatabase::Sqlite(path) => {
            let (path, beside) = (path.clone(), Side::file(path, chosen));
            let opening = tokio::task::spawn_blocking(move || sqlite::File::open(&path, &beside)).await;
            let file = opening.map_err(|error| AccountsError::Unavailable(error.to_string()))??;
            (String::from("main"), Arc::new(file))
        }
        SqlDatabase::Postgres(url) => {
            let (schema, server) = postgres::beside(url.expose(), |of_url| Side::schema(of_url, chosen)).await?;
            (schema, Arc::new(server))
        }
        SqlDatabase::Mysql(url) => {
            let (of_url, server) = mysql::beside(url.expose(), |of_url| Side::database(of_url, chosen)).await?;
            (of_url, Arc::new(server))
        }
    };
    let users = AuthjsUsers::new(&layout, &place, providers);
    Ok(SqlAccounts::with_users(connector, Box::new(users)))
}

/// How a user's id is kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdKind {
    Text,
    Number,
    Uuid,
}

impl IdKind {
    fn of(layout: &Layout) -> Self {
        let is_uuid = layout.users_table().column("id").is_some_and(|column| column.kind == "uuid");
        match layout.engine {
            _ if layout.has_numbered_users => Self::Number,
            // Elsewhere it is a word for text.
            Engine::Postgres if is_uuid => Self::Uuid,
            _ => Self::Text,
        }
    }
}
