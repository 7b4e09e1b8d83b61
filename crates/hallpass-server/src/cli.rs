//! The command line: what can be asked, and the exit codes.
//!
//! Settings flags are not here: they come from the table in [`crate::settings`] and are valid before and
//! after a subcommand.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::settings;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// It did not work: 1.
    Failed,
    /// Asked in the wrong way, the configuration included: 2.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::from(0),
            Exit::Failed => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}

/// Session management for web applications: every session can be seen, and ended.
#[derive(Debug, Parser)]
#[command(
    name = "hallpass",
    version,
    propagate_version = true,
    after_help = "Without a command: serve. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration."
)]
pub struct Cli {
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server (the default)
    Serve,
    /// Create and change accounts
    User {
        /// What to do with them.
        #[command(subcommand)]
        command: UserCommand,
    },
    /// See and end sessions
    Sessions {
        /// What to do with them.
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Remove expired sessions, and ended ones whose retention is over
    Cleanup {
        /// Only count them
        #[arg(long)]
        dry_run: bool,
    },
    /// Copy live sessions, and the accounts beside them, to another database, so that nobody has to sign in again
    Copy(CopyArgs),
    /// Show the session policy in force
    Policy,
    /// Check configuration, database and clocks, and say how to fix what is wrong
    Doctor(DoctorArgs),
    /// Bring the database's schema up to date (serve does it by itself)
    Migrate,
    /// Print a completion script
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// Print the documentation's table of settings
    #[command(hide = true)]
    Settings,
}

/// `hallpass copy ...`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["to", "to_file"]))]
pub struct CopyArgs {
    /// Where the sessions are now (default: the database of the settings)
    #[arg(long, value_name = "URL", conflicts_with = "from_file")]
    pub from: Option<String>,
    /// A file that holds that URL, for one with a password
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// Where they shall be: a database that no program uses yet
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// A file that holds that URL, for one with a password
    #[arg(long, value_name = "FILE")]
    pub to_file: Option<PathBuf>,
    /// Leave the accounts where they are
    #[arg(long)]
    pub sessions_only: bool,
}

/// `hallpass doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look at this Auth.js database too: whose layout it has, and what it lacks. Nothing is written there
    #[arg(long, value_name = "URL")]
    pub authjs: Option<String>,
    /// A file that holds that URL, for one with a password
    #[arg(long, value_name = "FILE", conflicts_with = "authjs")]
    pub authjs_file: Option<PathBuf>,
}

/// `hallpass user ...`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create an account
    Add {
        /// Email address, used to sign in
        email: String,
        /// Name to show
        #[arg(long)]
        name: String,
        /// May see and end everybody's sessions
        #[arg(long)]
        operator: bool,
        /// How the password is given.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List accounts in the order of their creation
    List {
        /// Most accounts to print
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Start after the account with this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Keep an account from signing in, and end its sessions
    Disable {
        /// Email address or id
        user: String,
    },
    /// Let a disabled account sign in again
    Enable {
        /// Email address or id
        user: String,
    },
    /// Set a new password, and end the account's sessions
    Passwd {
        /// Email address or id
        user: String,
        /// How the password is given.
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Delete an account, and end its sessions
    Delete {
        /// Email address or id
        user: String,
        /// Only say what would happen
        #[arg(long)]
        dry_run: bool,
    },
}

/// How a password is given. Never as an argument: other users of the machine read command lines.
#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of standard input instead of asking
    #[arg(long)]
    pub password_stdin: bool,
}

/// `hallpass sessions ...`
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List sessions, newest first
    List {
        /// Only those of this user (email address or id)
        #[arg(long, value_name = "EMAIL|ID")]
        user: Option<String>,
        /// Also those that have ended
        #[arg(long)]
        all: bool,
        /// Most sessions to print
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Start after the session with this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// Show one session
    Show {
        /// Public id of the session
        id: String,
    },
    /// End sessions: one, all of a user, or everyone's
    #[command(group = clap::ArgGroup::new("which").required(true).args(["id", "user", "everyone"]))]
    #[command(group = clap::ArgGroup::new("sure").args(["yes", "dry_run"]))]
    Revoke {
        /// Public id of the session
        id: Option<String>,
        /// All sessions of this user (email address or id)
        #[arg(long, value_name = "EMAIL|ID")]
        user: Option<String>,
        /// All sessions of everybody
        #[arg(long, requires = "sure")]
        everyone: bool,
        /// Yes, everybody's
        #[arg(long)]
        yes: bool,
        /// Only count them
        #[arg(long)]
        dry_run: bool,
        /// Return when no server accepts them any more, whatever it has in memory: a moment as a rule, a fifth more than the lease at most
        #[arg(long, conflicts_with = "dry_run")]
        wait: bool,
    },
}

/// The whole command tree with the settings' flags.
#[must_use]
pub fn command() -> clap::Command {
    settings::add_flags(Cli::command())
}

/// Reads the command line. The matches carry the settings' flags, for `Settings::load`.
///
/// # Errors
/// clap's error, which also stands for `--help` and `--version`; print it with its `print`.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    Ok((cli, matches))
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse_words(words: &str) -> Result<(Cli, ArgMatches), clap::Error> {
        parse(words.split(' ').map(OsString::from))
    }

    fn refused(words: &str) -> ErrorKind {
        parse_words(words).unwrap_err().kind()
    }

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_command_is_fine_and_settings_stand_anywhere() {
        let (cli, matches) = parse_words("hallpass --listen=127.0.0.1:1").unwrap();
        assert!(cli.command.is_none() && !cli.json);
        let flag = |matches: &ArgMatches, name: &str| matches.get_one::<String>(name).cloned();
        assert_eq!(flag(&matches, "listen").unwrap(), "127.0.0.1:1");
        let (cli, matches) = parse_words("hallpass user list --database-url sqlite:x.db --json").unwrap();
        assert!(cli.json);
        assert_eq!(flag(&matches, "database-url").unwrap(), "sqlite:x.db");
        let (_, matches) = parse_words("hallpass --database-url sqlite:x.db --config c.toml user list").unwrap();
        assert_eq!(flag(&matches, "database-url").unwrap(), "sqlite:x.db");
        assert_eq!(flag(&matches, "config").unwrap(), "c.toml");
    }

    #[test]
    fn passwords_and_secrets_are_no_arguments() {
        assert_eq!(refused("hallpass user add a@b --name A --password x"), ErrorKind::UnknownArgument);
        assert_eq!(refused("hallpass --cron-secret x"), ErrorKind::UnknownArgument);
        parse_words("hallpass user add a@b --name A --operator --password-stdin").unwrap();
    }

    #[test]
    fn a58_everyone_needs_a_yes() {
        let missing = ErrorKind::MissingRequiredArgument;
        assert_eq!(refused("hallpass sessions revoke"), missing);
        assert_eq!(refused("hallpass sessions revoke --everyone"), missing);
        parse_words("hallpass sessions revoke --everyone --yes").unwrap();
        parse_words("hallpass sessions revoke --everyone --dry-run").unwrap();
        parse_words("hallpass sessions revoke some-id").unwrap();
        parse_words("hallpass sessions revoke --user a@b --dry-run").unwrap();
        let conflict = ErrorKind::ArgumentConflict;
        assert_eq!(refused("hallpass sessions revoke some-id --user a@b"), conflict);
        assert_eq!(refused("hallpass sessions revoke some-id --everyone --yes"), conflict);
        assert_eq!(refused("hallpass sessions revoke --everyone --yes --dry-run"), conflict);
    }

    #[test]
    fn switches_take_an_optional_value() {
        let value = |words| {
            let (_, matches) = parse_words(words).unwrap();
            matches.get_one::<String>("insecure-http").cloned()
        };
        assert_eq!(value("hallpass --insecure-http serve").unwrap(), "true");
        assert_eq!(value("hallpass --insecure-http=false").unwrap(), "false");
        assert_eq!(value("hallpass"), None);
    }
}
