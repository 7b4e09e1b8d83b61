//! The parts that a command or the server works with, opened from the settings.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use hallpass_core::store::Filter;
use hallpass_core::{Actor, EndReason, Pepper, Sessions, Store, SweepSettings, UserId};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use secrecy::ExposeSecret as _;

use crate::accounts::sqlite::SqliteAccounts;
use crate::accounts::{AccountId, Accounts};
use crate::password::Passwords;
use crate::session_ends::{EndFailed, EndSessions};
use crate::settings::{Database, Settings};

/// Sessions and accounts over the configured database.
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
    /// Opens the database, creating and migrating it as needed.
    ///
    /// # Errors
    /// When the database cannot be opened, belongs to a newer program, or the policy contradicts itself. The text names the file and
    /// the fix.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let Database::Sqlite(path) = &settings.database;
        let store = SqliteStore::open(path, SqliteOptions::default())
            .await
            .with_context(|| format!("cannot open {}", settings.database))?;
        let place = path.clone();
        let accounts = tokio::task::spawn_blocking(move || SqliteAccounts::open(&place))
            .await
            .context("opening the accounts was interrupted")?
            .with_context(|| format!("cannot open the accounts in {}", settings.database))?;
        let policies = settings.policy.policies().context("setting policy")?;
        let sweep = SweepSettings {
            interval: settings.sweep_interval,
            ended_retention: settings.ended_retention,
            ..SweepSettings::default()
        };
        let mut builder = Sessions::builder(Arc::new(store) as Arc<dyn Store>).policies(policies).sweep(sweep);
        if let Some(pepper) = &settings.pepper {
            builder = builder.pepper(Pepper::new(pepper.expose_secret().as_bytes()).context("setting pepper")?);
        }
        Ok(Self {
            sessions: builder.build()?,
            accounts: Arc::new(accounts),
            passwords: Arc::new(Passwords::for_this_machine(settings.password)?),
        })
    }
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
