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
use crate::settings::{AccountsDatabase, Database, Origin, Settings};

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

/// Where the accounts beside these sessions are: where a server that had only this database named would keep them.
fn accounts_of(from: &Database, settings: &Settings) -> AccountsDatabase {
    match settings.origin_of("accounts_url") {
        Origin::Default => from.for_accounts(),
        _ => settings.accounts.clone(),
    }
}

/// Opens both sides, unless the accounts stay where they are: when they are told apart from the sessions, or cannot live in the target.
async fn accounts_that_go(plan: &Move, settings: &Settings) -> Result<Option<AccountsMove>> {
    let Database::Sql(to) = &plan.to else { return Ok(None) };
    if plan.sessions_only || settings.origin_of("accounts_url") != Origin::Default {
        return Ok(None);
    }
    let from = accounts_of(&plan.from, settings);
    if !from.exists() {
        bail!(
            "the accounts beside {} would be in {from}, which is not there; run this where the server runs, name their place with accounts_url \
             (HALLPASS_ACCOUNTS_URL, --accounts-url), or leave them with --sessions-only",
            plan.from
        );
    }
    let to = AccountsDatabase::Own(to.clone());
    Ok(Some(AccountsMove { from: open_accounts(&from, settings).await?, to: open_accounts(&to, settings).await? }))
}

/// Copies live sessions, and the accounts where both can be kept in the target, so that nobody has to sign in again.
///
/// # Errors
/// When a database fails, when the target is in use, and when the source went on being used: then a second run brings the rest over.
pub async fn run(plan: &Move, settings: &Settings, output: &mut Output<'_>) -> Result<()> {
    if !plan.from.exists() {
        bail!("there is no database at {}; name the one to copy with --from", plan.from);
    }
    if let Some(shared) = [&plan.from, &plan.to].into_iter().find(|database| matches!(database, Database::Authjs(_))) {
        bail!(
            "{shared} is shared with an application, whose sessions are found by their tokens; sessions move neither from there nor to there. \
             Its users sign in once more after a change"
        );
    }
    // Before the sessions, whose connections could leave none for them.
    let accounts = accounts_that_go(plan, settings).await?;
    let from = open_store(&plan.from, settings).await?;
    let to = open_store(&plan.to, settings).await?;
    refuse_the_same(&from, &to, plan).await?;
    let mut with_accounts = match &accounts {
        Some(accounts) => Some(copy_accounts(accounts, &from).await?),
        None => None,
    };

    let bar = Progress::start("copying sessions", Some(0));
    let copied = copy(&from, &to, &SystemClock, &mut |progress| {
        bar.total(progress.total.max(progress.done));
        bar.at(progress.done);
    })
    .await;
    bar.finish();
    let copied = copied?;
    if copied.live_in_source == 0 && with_accounts.is_none_or(|accounts| accounts.in_source == 0) {
        bail!("there is nothing to copy in {}: no live session and no account; is it the right database?", plan.from);
    }
    // An account that was disabled since must not stay enabled there.
    if let (Some(accounts), Some(first)) = (&accounts, &mut with_accounts) {
        let second = copy_accounts(accounts, &from).await?;
        first.created += second.created;
        first.updated += second.updated;
        (first.in_source, first.in_target) = (second.in_source, second.in_target);
    }
    let rest = rest(&from, &copied, accounts.as_ref(), with_accounts.as_ref()).await?;
    print(plan, &copied, with_accounts.as_ref(), settings, rest.is_empty(), output)?;
    if rest.is_empty() {
        return Ok(());
    }
    bail!(
        "not everything is in {} yet: {}. Stop the programs that use {}, and run this again: it brings the rest over",
        plan.to,
        rest.join(", "),
        plan.from
    )
}

/// What is known not to have gone along: it changed while the rest was copied.
async fn rest(
    from: &Arc<dyn Store>,
    copied: &Copied,
    accounts: Option<&AccountsMove>,
    with_accounts: Option<&AccountsCopied>,
) -> Result<Vec<&'static str>> {
    let mut rest = Vec::new();
    let counts_differ = with_accounts.is_some_and(|accounts| accounts.in_source != accounts.in_target);
    if let Some(accounts) = accounts
        && (counts_differ || accounts_copy::differing(&*accounts.from, &*accounts.to).await? > 0)
    {
        rest.push("the accounts differ");
    }
    if !copied.agrees() {
        rest.push("the numbers of live sessions differ");
    }
    // Last: what changes an account leaves its trace there when it ends sessions.
    if from.changes_since(copied.position, 1).await?.head > copied.position {
        rest.push("sessions ended or changed meanwhile");
    }
    Ok(rest)
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

async fn copy_accounts(accounts: &AccountsMove, sessions: &Arc<dyn Store>) -> Result<AccountsCopied> {
    // What an account's change has not ended yet must not go along.
    let sessions = Sessions::builder(Arc::clone(sessions)).build()?;
    session_ends::finish(&*accounts.from, &sessions).await?;
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
    complete: bool,
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
            "complete": complete,
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
    if complete {
        output.line(&format!("{next}; then start the server"))?;
    }
    Ok(())
}
