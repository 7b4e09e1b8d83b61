//! `hallpass sessions ...`

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use hallpass_core::store::{Filter, Page};
use hallpass_core::{Actor, Device, EndReason, Session, SessionId, Sessions, State, UserId};
use serde_json::{Value, json};

use super::find_account;
use crate::accounts::{AccountId, Accounts};
use crate::cli::SessionsCommand;
use crate::engine::Engine;
use crate::output::Output;
use crate::progress::Progress;
use crate::timestamp::rfc3339;

/// Rows behind a mark whose end is written in one commit.
const SETTLE_BATCH: u32 = 1_000;

/// Runs one command.
///
/// # Errors
/// In words for the person who typed it.
pub async fn run(command: SessionsCommand, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    match command {
        SessionsCommand::List { user, all, limit, after } => {
            let filter = Filter { user: user_filter(user.as_deref(), engine).await?, include_ended: all, class: None };
            let after = after.as_deref().map(parse_id).transpose()?;
            list(&filter, after, u32::from(limit), engine, output).await
        }
        SessionsCommand::Show { id } => show(parse_id(&id)?, engine, output).await,
        SessionsCommand::Revoke { id: Some(id), dry_run, wait, .. } => {
            revoke_one(parse_id(&id)?, dry_run, wait, engine, output).await
        }
        SessionsCommand::Revoke { user: Some(user), dry_run, wait, .. } => {
            let user = user_filter(Some(&user), engine).await?.context("no user was named")?;
            revoke_user(&user, dry_run, wait, engine, output).await
        }
        SessionsCommand::Revoke { dry_run, wait, .. } => revoke_everyone(dry_run, wait, engine, output).await,
    }
}

fn by() -> Actor {
    Actor::operator("command line")
}

fn parse_id(text: &str) -> Result<SessionId> {
    // A whole token must not be echoed back, so the text is not part of the message.
    text.parse().context("wrong session id; `hallpass sessions list` shows the ids")
}

/// The user that an email address or an id names. Ids of users without an account here are fine while they have sessions, ended ones
/// included: sessions outlive accounts. Any other is a mistake, which must not pass for a successful revocation.
async fn user_filter(user: Option<&str>, engine: &Engine) -> Result<Option<UserId>> {
    let Some(text) = user else { return Ok(None) };
    if text.contains('@') {
        let account = find_account(&*engine.accounts, text).await?;
        return Ok(Some(UserId::new(account.id.as_str())?));
    }
    let user = UserId::new(text)?;
    let filter = Filter { user: Some(user.clone()), include_ended: true, class: None };
    let known = !engine.sessions.list(&filter, Page::first(1)).await?.sessions.is_empty();
    if !known {
        find_account(&*engine.accounts, text).await?;
    }
    Ok(Some(user))
}

async fn list(
    filter: &Filter,
    mut after: Option<SessionId>,
    limit: u32,
    engine: &Engine,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut sessions: Vec<Session> = Vec::new();
    let next = loop {
        let wanted = limit - u32::try_from(sessions.len()).unwrap_or(limit);
        let page = Page { after, limit: wanted.min(Page::MAX_LIMIT) };
        let listing = engine.sessions.list(filter, page).await?;
        sessions.extend(listing.sessions);
        after = listing.next;
        if after.is_none() || sessions.len() >= limit as usize {
            break after;
        }
    };
    let emails = emails(&sessions, &*engine.accounts).await?;
    if output.is_json() {
        let sessions: Vec<Value> = sessions.iter().map(|session| to_json(session, &emails, &engine.sessions)).collect();
        output.json(&json!({ "sessions": sessions, "next": next.map(|id| id.to_string()) }))?;
        return Ok(());
    }
    if sessions.is_empty() {
        output.line("no sessions")?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|session| {
            vec![
                session.id.to_string(),
                emails.get(&session.user).cloned().unwrap_or_else(|| session.user.to_string()),
                session.class.to_string(),
                name_of(session),
                session.client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
                rfc3339(session.last_seen_at.as_millis()),
                state_of(session, &engine.sessions),
            ]
        })
        .collect();
    output.table(&["ID", "USER", "CLASS", "DEVICE", "ADDRESS", "LAST SEEN", "STATE"], &rows)?;
    if let Some(next) = next {
        output.line(&format!("there may be more: --after {next}"))?;
    }
    Ok(())
}

async fn show(id: SessionId, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    let Some(session) = engine.sessions.show(id).await? else {
        bail!("no session {id}; it never existed, or was removed after it ended");
    };
    let emails = emails(std::slice::from_ref(&session), &*engine.accounts).await?;
    let value = to_json(&session, &emails, &engine.sessions);
    if output.is_json() {
        output.json(&value)?;
        return Ok(());
    }
    let device = session.client.user_agent.as_deref().map(Device::parse);
    let rows = [
        ("id", session.id.to_string()),
        ("user", session.user.to_string()),
        ("email", emails.get(&session.user).cloned().unwrap_or_default()),
        ("class", session.class.to_string()),
        ("label", session.label.as_ref().map(|label| label.as_str().to_owned()).unwrap_or_default()),
        ("device", device.map(|device| device.name).unwrap_or_default()),
        ("user agent", session.client.user_agent.as_deref().unwrap_or_default().to_owned()),
        ("address", session.client.ip.map(|ip| ip.to_string()).unwrap_or_default()),
        ("created", rfc3339(session.created_at.as_millis())),
        ("authenticated", rfc3339(session.authenticated_at.as_millis())),
        ("by", format!("{} {}", session.authentication.source, session.authentication.methods.join(" "))),
        ("last seen", rfc3339(session.last_seen_at.as_millis())),
        ("renewed", rfc3339(session.renewed_at.as_millis())),
        ("idle deadline", rfc3339(session.idle_expires_at.as_millis())),
        ("absolute deadline", rfc3339(session.absolute_expires_at.as_millis())),
        ("attributes", session.attributes.to_json()),
        ("state", state_of(&session, &engine.sessions)),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    output.table(&["", ""], &rows)?;
    Ok(())
}

async fn revoke_one(id: SessionId, dry_run: bool, wait: bool, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    if dry_run {
        let live = engine.sessions.show(id).await?.is_some_and(|session| session.is_live_at(engine.sessions.now()));
        return report("would end", u64::from(live), true, output);
    }
    let ended = revoking(engine, wait).revoke(id, None, &by(), EndReason::Revoked).await?;
    if ended == 0 && engine.sessions.show(id).await?.is_none() {
        bail!("no session {id}; `hallpass sessions list` shows the ids");
    }
    report(ended_word(wait), ended, false, output)
}

async fn revoke_user(user: &UserId, dry_run: bool, wait: bool, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    if dry_run {
        let filter = Filter { user: Some(user.clone()), ..Filter::default() };
        let live = engine.sessions.store().count(&filter, engine.sessions.now()).await?;
        return report("would end", live, true, output);
    }
    let revoked = revoking(engine, wait).revoke_user(user, &by(), EndReason::RevokedUser).await?;
    report(ended_word(wait), revoked.ended.unwrap_or(0), false, output)
}

async fn revoke_everyone(dry_run: bool, wait: bool, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    let now = engine.sessions.now();
    let live = engine.sessions.store().count(&Filter::default(), now).await?;
    if dry_run {
        return report("would end", live, true, output);
    }
    revoking(engine, wait).revoke_everyone(&by()).await?;
    engine.sessions.hint().await;
    // From here on nobody is signed in; what follows writes it into the rows, and the server's sweeper would do it as well.
    let progress = Progress::start("writing the end into the rows", Some(live));
    let mut written = 0;
    loop {
        let settled = engine.sessions.store().settle(SETTLE_BATCH, now).await?;
        written += settled.rows;
        progress.at(written);
        if !settled.more {
            break;
        }
    }
    progress.finish();
    report(ended_word(wait), live, false, output)
}

fn revoking(engine: &Engine, wait: bool) -> Sessions {
    if wait { engine.sessions.waiting() } else { engine.sessions.clone() }
}

const fn ended_word(wait: bool) -> &'static str {
    if wait { "everywhere ended" } else { "ended" }
}

fn report(done: &str, sessions: u64, dry_run: bool, output: &mut Output<'_>) -> Result<()> {
    if output.is_json() {
        output
            .json(&json!({ "revoked": if dry_run { 0 } else { sessions }, "matched": sessions, "dryRun": dry_run }))?;
    } else {
        output.line(&format!("{done} {sessions} {}", if sessions == 1 { "session" } else { "sessions" }))?;
    }
    Ok(())
}

/// The email addresses of the users that have an account here. At most one look-up for each user on the page.
async fn emails(sessions: &[Session], accounts: &dyn Accounts) -> Result<HashMap<UserId, String>> {
    let mut emails = HashMap::new();
    for session in sessions {
        if emails.contains_key(&session.user) {
            continue;
        }
        if let Some(id) = AccountId::parse(session.user.as_str())
            && let Some(email) = accounts.find(&id).await?.and_then(|account| account.email)
        {
            emails.insert(session.user.clone(), email.to_string());
        }
    }
    Ok(emails)
}

fn name_of(session: &Session) -> String {
    let device =
        session.client.user_agent.as_deref().map_or_else(|| "Unknown device".to_owned(), |ua| Device::parse(ua).name);
    match &session.label {
        Some(label) => format!("{} ({device})", label.as_str()),
        None => device,
    }
}

fn state_of(session: &Session, sessions: &Sessions) -> String {
    match &session.state {
        State::Ended(ended) => format!("{} by {} {}", ended.reason, ended.by, rfc3339(ended.at.as_millis())),
        State::Live if session.is_live_at(sessions.now()) => {
            format!("until {}", rfc3339(session.idle_expires_at.as_millis()))
        }
        State::Live => format!("expired {}", rfc3339(session.idle_expires_at.as_millis())),
    }
}

fn to_json(session: &Session, emails: &HashMap<UserId, String>, sessions: &Sessions) -> Value {
    let device = session.client.user_agent.as_deref().map(Device::parse);
    let ended = match &session.state {
        State::Ended(ended) => json!({
            "at": rfc3339(ended.at.as_millis()),
            "by": { "kind": ended.by.kind.as_str(), "name": ended.by.name },
            "reason": ended.reason.as_str(),
        }),
        State::Live => Value::Null,
    };
    json!({
        "id": session.id.to_string(),
        "user": session.user.as_str(),
        "email": emails.get(&session.user),
        "class": session.class.as_str(),
        "label": session.label.as_ref().map(hallpass_core::Label::as_str),
        "device": {
            "name": device.as_ref().map(|device| &device.name),
            "kind": device.as_ref().map(|device| device.kind.as_str()),
            "userAgent": session.client.user_agent.as_deref(),
        },
        "ip": session.client.ip,
        "createdAt": rfc3339(session.created_at.as_millis()),
        "authenticatedAt": rfc3339(session.authenticated_at.as_millis()),
        "authentication": { "source": session.authentication.source, "methods": session.authentication.methods },
        "lastSeenAt": rfc3339(session.last_seen_at.as_millis()),
        "renewedAt": rfc3339(session.renewed_at.as_millis()),
        "expires": rfc3339(session.idle_expires_at.as_millis()),
        "absoluteExpires": rfc3339(session.absolute_expires_at.as_millis()),
        "attributes": session.attributes.as_map(),
        "live": session.is_live_at(sessions.now()),
        "ended": ended,
    })
}
