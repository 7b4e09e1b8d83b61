//! `hallpass user ...`

use std::io::{BufRead, Read as _};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::find_account;
use crate::accounts::{Account, AccountId, Accounts, Created, DisplayName, Email, NewAccount};
use crate::cli::{PasswordArgs, UserCommand};
use crate::output::Output;
use crate::password::{MAX_BYTES, Password, Passwords};
use crate::session_ends::{EndSessions, finish};
use crate::timestamp::rfc3339;

/// Where a password comes from.
pub trait PasswordSource {
    /// One line, its end included or not, bounded by the caller's patience and [`MAX_BYTES`].
    ///
    /// # Errors
    /// When it cannot be read.
    fn first_line(&mut self) -> std::io::Result<Zeroizing<String>>;

    /// Asks a person, without echo. `None`: there is no terminal to ask at.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    fn ask(&mut self, prompt: &str) -> Option<std::io::Result<Zeroizing<String>>>;
}

/// Standard input, and the terminal.
#[derive(Debug)]
pub struct StandardInput;

impl PasswordSource for StandardInput {
    fn first_line(&mut self) -> std::io::Result<Zeroizing<String>> {
        read_line(&mut std::io::stdin().lock())
    }

    fn ask(&mut self, prompt: &str) -> Option<std::io::Result<Zeroizing<String>>> {
        use std::io::IsTerminal as _;
        std::io::stdin().is_terminal().then(|| rpassword::prompt_password(prompt).map(Zeroizing::new))
    }
}

/// The first line of `input` without its line end; never reads much more than a password may have.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_line(input: &mut dyn BufRead) -> std::io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    // A longer line is cut here and then refused as too long, not accepted in part.
    input.take(MAX_BYTES as u64 + 3).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

/// What the commands work with.
#[derive(Debug)]
pub struct Context<'a> {
    /// The accounts.
    pub accounts: &'a dyn Accounts,
    /// Ends their sessions.
    pub sessions: &'a dyn EndSessions,
    /// Hashes their passwords.
    pub passwords: &'a Passwords,
    /// The time, in milliseconds since the epoch.
    pub now_ms: i64,
}

/// Runs one command.
///
/// # Errors
/// In words for the person who typed it. When an account was changed but its sessions could not be
/// ended the error says so; the change stands and the ending is tried again (see
/// [`crate::session_ends`]).
pub async fn run(
    command: UserCommand,
    context: &Context<'_>,
    input: &mut dyn PasswordSource,
    output: &mut Output<'_>,
) -> Result<()> {
    match command {
        UserCommand::Add { email, name, operator, password } => {
            add(&email, &name, operator, &password, context, input, output).await
        }
        UserCommand::List { limit, after } => list(limit, after.as_deref(), context, output).await,
        UserCommand::Disable { user } => disable(&user, context, output).await,
        UserCommand::Enable { user } => enable(&user, context, output).await,
        UserCommand::Passwd { user, password } => passwd(&user, &password, context, input, output).await,
        UserCommand::Delete { user, dry_run } => delete(&user, dry_run, context, output).await,
    }
}

async fn add(
    email: &str,
    name: &str,
    operator: bool,
    password: &PasswordArgs,
    context: &Context<'_>,
    input: &mut dyn PasswordSource,
    output: &mut Output<'_>,
) -> Result<()> {
    let email = Email::parse(email)?;
    let name = DisplayName::parse(name)?;
    let password = read_password(password, input)?;
    let new = NewAccount { email, name, operator, password_hash: Some(context.passwords.hash(&password).await?) };
    let email = new.email.clone();
    match context.accounts.create(new, context.now_ms).await? {
        Created::Account(account) if output.is_json() => output.json(&to_json(&account))?,
        Created::Account(account) => {
            output.line(&format!("created {} with id {}", account.known_as(), account.id))?;
        }
        Created::Duplicate => bail!("an account with the email {email} exists already"),
    }
    Ok(())
}

async fn list(limit: u16, after: Option<&str>, context: &Context<'_>, output: &mut Output<'_>) -> Result<()> {
    let after = after.map(|text| AccountId::parse(text).context("--after is no id")).transpose()?;
    let page = context.accounts.list(after.as_ref(), limit).await?;
    // A full page may be the last one; then the next is empty.
    let next = (page.len() == usize::from(limit)).then(|| page.last().map(|account| account.id.to_string())).flatten();
    if output.is_json() {
        let users: Vec<Value> = page.iter().map(to_json).collect();
        output.json(&json!({"users": users, "next": next}))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = page
        .iter()
        .map(|account| {
            vec![
                account.id.to_string(),
                account.shown_email().unwrap_or_default().to_owned(),
                account.name.clone(),
                if account.operator { "operator" } else { "" }.to_owned(),
                account.disabled_at.map_or_else(|| "active".to_owned(), |at| format!("disabled {}", rfc3339(at))),
                account.created_at.map(rfc3339).unwrap_or_default(),
            ]
        })
        .collect();
    output.table(&["ID", "EMAIL", "NAME", "ROLE", "STATE", "CREATED"], &rows)?;
    if let Some(next) = next {
        output.line(&format!("there may be more: --after {next}"))?;
    }
    Ok(())
}

async fn disable(user: &str, context: &Context<'_>, output: &mut Output<'_>) -> Result<()> {
    let id = find_account(context.accounts, user).await?.id;
    let changed = context.accounts.disable(&id, context.now_ms).await?;
    let account = changed.with_context(|| format!("account {id} was deleted meanwhile"))?;
    let ended = finish(context.accounts, context.sessions)
        .await
        .with_context(|| format!("{} is disabled", account.known_as()))?;
    report("disabled", &account, Some(ended), output)
}

async fn enable(user: &str, context: &Context<'_>, output: &mut Output<'_>) -> Result<()> {
    let id = find_account(context.accounts, user).await?.id;
    let changed = context.accounts.enable(&id).await?;
    let account = changed.with_context(|| format!("account {id} was deleted meanwhile"))?;
    report("enabled", &account, None, output)
}

async fn passwd(
    user: &str,
    password: &PasswordArgs,
    context: &Context<'_>,
    input: &mut dyn PasswordSource,
    output: &mut Output<'_>,
) -> Result<()> {
    let account = find_account(context.accounts, user).await?;
    if account.email.is_none() {
        bail!(
            "{} has no email address, or none that is written as people type one, and nobody can sign in with its password",
            account.id
        );
    }
    let id = account.id;
    let password = read_password(password, input)?;
    let hash = context.passwords.hash(&password).await?;
    let changed = context.accounts.set_password(&id, hash, context.now_ms).await?;
    let account = changed.with_context(|| format!("account {id} was deleted meanwhile"))?;
    let ended = finish(context.accounts, context.sessions)
        .await
        .with_context(|| format!("the password of {} is changed", account.known_as()))?;
    report("changed the password of", &account, Some(ended), output)
}

async fn delete(user: &str, dry_run: bool, context: &Context<'_>, output: &mut Output<'_>) -> Result<()> {
    let account = find_account(context.accounts, user).await?;
    if dry_run {
        let live = context.sessions.count_live(&account.id).await?;
        return report("would delete", &account, Some(live), output);
    }
    if !context.accounts.delete(&account.id, context.now_ms).await? {
        bail!("account {} was deleted meanwhile", account.id);
    }
    let ended = finish(context.accounts, context.sessions)
        .await
        .with_context(|| format!("{} is deleted", account.known_as()))?;
    report("deleted", &account, Some(ended), output)
}

fn report(done: &str, account: &Account, ended: Option<u64>, output: &mut Output<'_>) -> Result<()> {
    if output.is_json() {
        let mut value = to_json(account);
        if let (Some(ended), Some(object)) = (ended, value.as_object_mut()) {
            object.insert("sessionsEnded".to_owned(), ended.into());
        }
        output.json(&value)?;
        return Ok(());
    }
    let sessions = match ended {
        None => String::new(),
        Some(1) => ", ended 1 session".to_owned(),
        Some(ended) => format!(", ended {ended} sessions"),
    };
    output.line(&format!("{done} {}{sessions}", account.known_as()))?;
    Ok(())
}

fn to_json(account: &Account) -> Value {
    json!({
        "id": account.id.as_str(),
        "email": account.shown_email(),
        "name": account.name,
        "operator": account.operator,
        "disabledAt": account.disabled_at.map(rfc3339),
        "createdAt": account.created_at.map(rfc3339),
        "hasPassword": account.password_hash.is_some(),
    })
}

fn read_password(args: &PasswordArgs, input: &mut dyn PasswordSource) -> Result<Password> {
    if args.password_stdin {
        let line = input.first_line().context("cannot read the password from standard input")?;
        return Ok(Password::new(line.to_string())?);
    }
    let Some(first) = input.ask("Password: ") else {
        bail!("no terminal to ask for the password at; pass --password-stdin and give it on standard input");
    };
    let first = first.context("cannot read the password")?;
    let password = Password::new(first.to_string())?;
    match input.ask("Password again: ") {
        Some(Ok(second)) if *second == *first => Ok(password),
        Some(Ok(_)) => bail!("the two passwords differ; nothing was changed"),
        Some(Err(error)) => Err(error).context("cannot read the password"),
        None => bail!("the terminal went away; nothing was changed"),
    }
}
