//! From a command line to an exit code.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use hallpass_core::{Clock as _, SystemClock};
use serde_json::json;

use crate::cli::{self, Command, CopyArgs, Exit, UserCommand};
use crate::commands;
use crate::commands::copy::Move;
use crate::engine::Engine;
use crate::output::{Output, is_broken_pipe};
use crate::settings::{self, Settings, SettingsError};
use crate::terminal_text::escape;

/// Runs the program: reads the command line, does what it asks, prints errors to standard error.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let (cli, flags) = match cli::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => {
            // A reader that went away cannot be told anything.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    let mut stdout = stdout.lock();
    let mut output = Output::new(&mut stdout, cli.json, terminal);
    let outcome =
        dispatch(cli.command.unwrap_or(Command::Serve), &flags, &mut output).and_then(|()| Ok(stdout.flush()?));
    match outcome {
        Ok(()) => Exit::Done,
        Err(error) if is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "hallpass: {}", escape(&format!("{error:#}")));
            if error.downcast_ref::<SettingsError>().is_some() { Exit::Usage } else { Exit::Failed }
        }
    }
}

fn dispatch(command: Command, flags: &clap::ArgMatches, output: &mut Output<'_>) -> Result<()> {
    match command {
        Command::Completions { shell } => {
            // Into memory first: the generator panics when its writer fails.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli::command(), "hallpass", &mut script);
            Ok(output.block(&String::from_utf8_lossy(&script))?)
        }
        Command::Settings => Ok(output.block(&settings::markdown())?),
        command => {
            let settings = Settings::load(flags)?;
            crate::logging::start(settings.log_format, &settings.log)?;
            let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
            runtime.block_on(with_settings(command, settings, output))
        }
    }
}

async fn with_settings(command: Command, settings: Settings, output: &mut Output<'_>) -> Result<()> {
    match &command {
        Command::Doctor(args) => {
            let authjs = settings::sql_database_of_flag("authjs", args.authjs.as_deref(), args.authjs_file.as_deref())?;
            return commands::doctor::run(&settings, authjs.as_ref(), output).await;
        }
        Command::Policy => return commands::policy::run(&settings.policy.policies()?, output),
        Command::Copy(args) => return commands::copy::run(&to_move(args, &settings)?, &settings, output).await,
        _ => {}
    }
    // In the wrong directory an emergency's "revoke everyone" would make an empty database and report success.
    let may_create =
        matches!(command, Command::Serve | Command::Migrate | Command::User { command: UserCommand::Add { .. } });
    if !may_create {
        for (there, place, key) in [
            (settings.database.exists(), settings.database.to_string(), "database"),
            (settings.accounts.exists(), settings.accounts.to_string(), "accounts"),
        ] {
            if !there {
                bail!(
                    "there is no database at {place}; run this where the server runs, or name it with the setting `{key}_url` (HALLPASS_{}_URL, --{key}-url)",
                    key.to_uppercase()
                );
            }
        }
    }
    let engine = Engine::open(&settings).await?;
    let sessions = engine.sessions.clone();
    let outcome = with_engine(command, settings, engine, output).await;
    // Servers that answer from memory learn at once of what a command has ended.
    sessions.hint().await;
    outcome
}

async fn with_engine(command: Command, settings: Settings, engine: Engine, output: &mut Output<'_>) -> Result<()> {
    match command {
        Command::Serve => crate::serve::run(settings, engine).await,
        Command::User { command } => {
            let context = commands::user::Context {
                accounts: &*engine.accounts,
                sessions: &engine.sessions,
                passwords: &engine.passwords,
                now_ms: SystemClock.now().as_millis(),
            };
            commands::user::run(command, &context, &mut commands::user::StandardInput, output).await
        }
        Command::Sessions { command } => commands::sessions::run(command, &engine, output).await,
        Command::Cleanup { dry_run } => commands::cleanup::run(dry_run, &engine, output).await,
        Command::Migrate => migrated(&settings, &engine, output).await,
        // Answered above.
        Command::Doctor(_) | Command::Policy | Command::Copy(_) | Command::Completions { .. } | Command::Settings => {
            Ok(())
        }
    }
}

fn to_move(args: &CopyArgs, settings: &Settings) -> Result<Move> {
    let from = settings::database_of_flag("from", args.from.as_deref(), args.from_file.as_deref())?;
    let to = settings::database_of_flag("to", args.to.as_deref(), args.to_file.as_deref())?;
    let to = to.context("name the target with --to")?;
    Ok(Move { from: from.unwrap_or_else(|| settings.database.clone()), to, sessions_only: args.sessions_only })
}

/// Opening the database has migrated it; this says to what.
async fn migrated(settings: &Settings, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    let schema = engine.sessions.health().await?.schema;
    if output.is_json() {
        output.json(&json!({ "database": settings.database.to_string(), "schema": schema }))?;
    } else {
        output.line(&format!("{} has schema version {schema}", settings.database))?;
    }
    Ok(())
}
