//! `hallpass copy`

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use hallpass_core::{Copied, Sessions, Store, SystemClock, copy};
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::accounts::copy::{self as accounts_copy, AccountsCopied};
use crate::engine::{open_accounts, open_store};
use crate::output::Output;
use crate::progress::Progress;
use crate::session_ends;
use crate::settings::{Database, Origin, Settings, SqlDatabase};

/// To the target. Each creation is durable, and servers sync once for all that commit together: with 4 connections 100,000 sessions took
/// PostgreSQL three times as long.
const CONNECTIONS: usize = 32;

/// From where to where.
#[derive(Debug)]
pub struct Move {
    /// Where sessions are now.
    pub from: Database,
    /// Where they shall be.
    pub to: Database,
    /// Leave the accounts where they are.
    pub sessions_only: bool,
}

/// Accounts that go along.
struct AccountsMove {
    from: Arc<dyn Accounts>,
    to: Arc<dyn Accounts>,
}

/// Where the accounts beside these sessions are.
fn accounts_of(from: &Database, settings: &Settings) -> SqlDatabase {
    match from {
        Database::Sql(database) if settings.origin_of("accounts_url") == Origin::Default => database.clone(),
        _ => settings.accounts.clone(),
    }
}

/// Opens both sides, unless the accounts stay where they are: when they are told apart from the sessions, or cannot live in the target.
async fn accounts_that_go(plan: &Move, settings: &Settings) -> Result<Option<AccountsMove>> {
    let from = accounts_of(&plan.from, settings);
    match &plan.to {
        Database::Sql(to)
            if !plan.sessions_only && settings.origin_of("accounts_url") == Origin::Default && from.exists() =>
        {
            Ok(Some(AccountsMove { from: open_accounts(&from).await?, to: open_accounts(to).await? }))
        }
        _ => Ok(None),
    }
}

/// Copies live sessions, and the accounts where both databases hold some, so that nobody has to sign in again.
///
/// # Errors
/// When a database fails, when the target is in use, and when the counts differ at the end: then the source went on being used, and a second
/// run brings the rest over.
pub async fn run(plan: &Move, settings: &Settings, output: &mut Output<'_>) -> Result<()> {
    if !plan.from.exists() {
        bail!("there is no database at {}; name the one to copy with --from", plan.from);
    }
    let from = open_store(&plan.from, settings.ended_retention, None).await?;
    let to = open_store(&plan.to, settings.ended_retention, Some(CONNECTIONS)).await?;
    refuse_the_same(&from, &to, plan).await?;
    let accounts = accounts_that_go(plan, settings).await?;
    if let Some(accounts) = &accounts {
        // What an account's change has not ended yet must not go along.
        let sessions = Sessions::builder(Arc::clone(&from)).build()?;
        session_ends::finish(&*accounts.from, &sessions).await?;
        accounts_copy::check_target(&*accounts.from, &*accounts.to).await?;
    }

    let bar = Progress::start("copying sessions", Some(0));
    let copied = copy(&from, &to, &SystemClock, &mut |progress| {
        bar.total(progress.total.max(progress.done));
        bar.at(progress.done);
    })
    .await;
    bar.finish();
    let copied = copied?;
    let with_accounts = match &accounts {
        Some(accounts) => Some(copy_accounts(accounts).await?),
        None => None,
    };
    print(plan, &copied, with_accounts.as_ref(), settings, output)?;
    if copied.agrees() && with_accounts.is_none_or(|accounts| accounts.in_source == accounts.in_target) {
        return Ok(());
    }
    bail!(
        "the counts differ, so {} went on being used; stop the programs that use it, and run this again: it brings the rest over",
        plan.from
    )
}

/// A database and itself, by whatever name.
async fn refuse_the_same(from: &Arc<dyn Store>, to: &Arc<dyn Store>, plan: &Move) -> Result<()> {
    let source = from.changes_since(u64::MAX, 1).await.with_context(|| plan.from.to_string())?;
    let target = to.changes_since(u64::MAX, 1).await.with_context(|| plan.to.to_string())?;
    if source.incarnation == target.incarnation {
        bail!("{} and {} are the same database; name another one with --to", plan.from, plan.to);
    }
    Ok(())
}

async fn copy_accounts(accounts: &AccountsMove) -> Result<AccountsCopied> {
    let bar = Progress::start("copying accounts", Some(accounts.from.count().await?));
    let copied = accounts_copy::copy(&*accounts.from, &*accounts.to, &mut |done| bar.at(done)).await;
    bar.finish();
    Ok(copied?)
}

fn print(
    plan: &Move,
    sessions: &Copied,
    accounts: Option<&AccountsCopied>,
    settings: &Settings,
    output: &mut Output<'_>,
) -> Result<()> {
    if output.is_json() {
        let accounts = accounts.map_or(Value::Null, |copied| {
            json!({
                "created": copied.created, "present": copied.present, "updated": copied.updated,
                "inSource": copied.in_source, "inTarget": copied.in_target,
            })
        });
        output.json(&json!({
            "from": plan.from.to_string(),
            "to": plan.to.to_string(),
            "sessions": {
                "created": sessions.created, "present": sessions.present, "updated": sessions.updated, "ended": sessions.ended,
                "inSource": sessions.live_in_source, "inTarget": sessions.live_in_target,
            },
            "accounts": accounts,
        }))?;
        return Ok(());
    }
    let counts =
        |created, present, updated| format!("{created} copied, {present} were there, {updated} of them updated");
    output.line(&format!("{} -> {}", plan.from, plan.to))?;
    output.line(&format!(
        "sessions: {}, {} ended; {} live in the source, {} in the target",
        counts(sessions.created, sessions.present, sessions.updated),
        sessions.ended,
        sessions.live_in_source,
        sessions.live_in_target
    ))?;
    let mut next = String::from("next: set database_url (HALLPASS_DATABASE_URL) to the URL of --to");
    if let Some(accounts) = accounts {
        output.line(&format!(
            "accounts: {}; {} in the source, {} in the target",
            counts(accounts.created, accounts.present, accounts.updated),
            accounts.in_source,
            accounts.in_target
        ))?;
    } else {
        output.line(&format!("accounts: not copied; they stay in {}", accounts_of(&plan.from, settings)))?;
        next.push_str(", and accounts_url (HALLPASS_ACCOUNTS_URL) to where the accounts are");
    }
    output.line(&format!("{next}; then start the server"))?;
    Ok(())
}
