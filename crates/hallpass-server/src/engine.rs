//! The parts that a command or the server works with, opened from the settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use hallpass_authjs::{AuthjsOptions, AuthjsStore};
use hallpass_core::store::Filter;
use hallpass_core::{Actor, Class, EndReason, Pepper, Sessions, Store, StoreError, SweepSettings, UserId};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use hallpass_redis::{RedisOptions, RedisStore};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use secrecy::ExposeSecret as _;

use crate::accounts::sqlite::SqliteAccounts;
use crate::accounts::{AccountId, Accounts, AccountsError, authjs, mysql, postgres};
use crate::authjs_catalogue;
use crate::password::Passwords;
use crate::session_ends::{EndFailed, EndSessions};
use crate::settings::{AccountsDatabase, Database, RedisDatabase, Settings, SqlDatabase};

/// Sessions and accounts over the configured databases.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The sessions.
    pub sessions: Sessions,
    /// The server's own users.
    pub accounts: Arc<dyn Accounts>,
    /// Hashes and checks their passwords.
    pub passwords: Arc<Passwords>,
}

impl Engine {
    /// Opens both databases, creating and migrating them as needed.
    ///
    /// # Errors
    /// When a database cannot be opened or reached, belongs to a newer program, or the policy contradicts itself. The text names the
    /// file, or host, port and database, and the fix.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let store = open_store(&settings.database, settings).await?;
        let accounts = open_accounts(&settings.accounts, settings).await?;
        let policies = settings.policy.policies().context("setting policy")?;
        let sweep = SweepSettings {
            interval: settings.sweep_interval,
            ended_retention: settings.ended_retention,
            ..SweepSettings::default()
        };
        let mut builder = Sessions::builder(store).policies(policies).sweep(sweep).validation(settings.validation);
        if let Some(pepper) = &settings.pepper {
            builder = builder.pepper(Pepper::new(pepper.expose_secret().as_bytes()).context("setting pepper")?);
        }
        Ok(Self {
            sessions: builder.build()?,
            accounts,
            passwords: Arc::new(Passwords::for_this_machine(settings.password)?),
        })
    }
}

/// Opens the sessions' database, creating and migrating it as needed. Ended sessions stay there for at least the retention of the settings.
///
/// # Errors
/// When it cannot be opened or reached, or belongs to a newer program.
pub async fn open_store(database: &Database, settings: &Settings) -> Result<Arc<dyn Store>> {
    let opened: Result<Arc<dyn Store>, StoreError> = match database {
        Database::Sql(SqlDatabase::Sqlite(path)) => {
            SqliteStore::open(path, SqliteOptions::default()).await.map(|store| Arc::new(store) as _)
        }
        Database::Sql(SqlDatabase::Postgres(url)) => {
            PostgresStore::connect(url.expose(), PostgresOptions::default()).await.map(|store| Arc::new(store) as _)
        }
        Database::Sql(SqlDatabase::Mysql(url)) => {
            MysqlStore::connect(url.expose(), MysqlOptions::default()).await.map(|store| Arc::new(store) as _)
        }
        Database::Redis(redis) => {
            let options = redis_options(redis, settings.ended_retention)?;
            RedisStore::open_at(redis.location.clone(), options).await.map(|store| Arc::new(store) as _)
        }
        Database::Authjs(authjs) => {
            let policies = settings.policy.policies().context("setting policy")?;
            let options = AuthjsOptions {
                hashes_tokens: authjs.hashes_tokens,
                side: authjs.side.clone(),
                ..AuthjsOptions::of(policies.of(&Class::WEB))
            };
            let opened = match &authjs.tables {
                SqlDatabase::Sqlite(path) => AuthjsStore::open_sqlite(path, options).await,
                SqlDatabase::Postgres(url) => AuthjsStore::connect_postgres(url.expose(), options).await,
                SqlDatabase::Mysql(url) => AuthjsStore::connect_mysql(url.expose(), options).await,
            };
            opened.map(|store| Arc::new(store) as _)
        }
    };
    opened.with_context(|| format!("cannot open {database}"))
}

fn redis_options(redis: &RedisDatabase, ended_retention: Duration) -> Result<RedisOptions> {
    let default = RedisOptions::default();
    let authority = redis.authority.as_ref().map(|path| {
        std::fs::read(path).with_context(|| format!("cannot read {}, the ssl-ca of {}", path.display(), redis.location))
    });
    Ok(RedisOptions {
        prefix: redis.prefix.clone().unwrap_or(default.prefix),
        replicas_to_wait_for: redis.wait_replicas,
        // The sweeper comes first; this is for a database that nobody sweeps.
        ended_retention: default.ended_retention.max(ended_retention.saturating_mul(2)),
        authority: authority.transpose()?,
        ..RedisOptions::default()
    })
}

/// Opens the accounts' database, creating and migrating it as needed.
///
/// # Errors
/// When it cannot be opened or reached, or belongs to a newer program.
pub async fn open_accounts(database: &AccountsDatabase, settings: &Settings) -> Result<Arc<dyn Accounts>> {
    let opened: Result<Arc<dyn Accounts>, AccountsError> = match database {
        AccountsDatabase::Own(SqlDatabase::Sqlite(path)) => {
            let path = path.clone();
            let opening = tokio::task::spawn_blocking(move || SqliteAccounts::open(&path)).await;
            opening.context("opening the accounts was interrupted")?.map(|accounts| Arc::new(accounts) as _)
        }
        AccountsDatabase::Own(SqlDatabase::Postgres(url)) => {
            postgres::connect(url.expose()).await.map(|accounts| Arc::new(accounts) as _)
        }
        AccountsDatabase::Own(SqlDatabase::Mysql(url)) => {
            mysql::connect(url.expose()).await.map(|accounts| Arc::new(accounts) as _)
        }
        AccountsDatabase::Authjs(database) => {
            let catalogue = authjs_catalogue::read(&database.tables).await?;
            authjs::open(database, &catalogue, &settings.providers).await.map(|accounts| Arc::new(accounts) as _)
        }
    };
    opened.with_context(|| format!("cannot open the accounts in {database}"))
}

#[async_trait]
impl EndSessions for Sessions {
    async fn end_all(&self, account: &AccountId, reason: EndReason) -> Result<u64, EndFailed> {
        let by = Actor::system("accounts");
        let revoked = self.revoke_user(&user_id(account)?, &by, reason).await;
        Ok(revoked.map_err(|error| EndFailed(error.to_string()))?.ended.unwrap_or(0))
    }

    async fn count_live(&self, account: &AccountId) -> Result<u64, EndFailed> {
        let filter = Filter { user: Some(user_id(account)?), ..Filter::default() };
        self.store().count(&filter, self.now()).await.map_err(|error| EndFailed(error.to_string()))
    }
}

fn user_id(account: &AccountId) -> Result<UserId, EndFailed> {
    UserId::new(account.as_str()).map_err(|error| EndFailed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_of_redis_says_reaches_the_store() {
        const DAY: Duration = Duration::from_secs(86_400);
        let options = |url: &str, retention| {
            let Ok(Database::Redis(redis)) = Database::parse(url) else { panic!("{url}") };
            redis_options(&redis, retention)
        };
        let default = RedisOptions::default();
        assert_eq!(options("redis://h", DAY).unwrap(), default);
        let chosen = options("redis://h?prefix=other:&wait-replicas=2", 365 * DAY).unwrap();
        assert_eq!((chosen.prefix.as_str(), chosen.replicas_to_wait_for), ("other:", 2));
        assert!(chosen.ended_retention >= 365 * DAY, "the server must not remove what the sweeper keeps");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, "certificate").unwrap();
        let chosen = options(&format!("rediss://h?ssl-ca={}", file.display()), DAY).unwrap();
        assert_eq!(chosen.authority.as_deref(), Some(b"certificate".as_slice()));
        let error = options("rediss://u:hunter2@h?ssl-ca=/nowhere/ca.pem", DAY).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("/nowhere/ca.pem") && !text.contains("hunter2"), "{text}");
    }
}
