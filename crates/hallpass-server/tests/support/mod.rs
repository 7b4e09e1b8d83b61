//! The real program in a directory of its own: the server on a free port, the command line beside it, and a browser without scripts.
//!
//! With `HALLPASS_TEST_ARTIFACTS` set, database and log are made under it and left there; with `HALLPASS_TEST_SECRETS` set, every password and
//! session token is appended to that file, one per line. A later step searches the former for the latter.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

mod browser;
#[path = "../databases/mod.rs"]
pub(crate) mod databases;
mod secrets;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hallpass_core::{Clock as _, SystemClock};
use serde_json::Value;
use tempfile::TempDir;

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use self::browser::{Answer, Browser};
#[allow(unused_imports, reason = "each test file uses a part of it")]
pub(crate) use self::secrets::{new_password, record};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The time in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemClock.now().as_millis()
}

/// A path with a query.
pub(crate) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}

/// A directory that goes away with the test, or stays as an artifact.
#[derive(Debug, Default)]
pub(crate) struct Place {
    path: PathBuf,
    _temporary: Option<TempDir>,
    /// Settings that every command here has in its environment.
    settings: Vec<(&'static str, String)>,
}

impl Place {
    /// With the database of the engine that `HALLPASS_TEST_ENGINE` names, of its own; without it the default one, in the directory.
    pub(crate) fn new() -> Self {
        let settings = database_of_this_run().map(|url| ("HALLPASS_DATABASE_URL", url));
        let mut builder = tempfile::Builder::new();
        builder.prefix("hallpass-server-");
        if let Some(artifacts) = secrets::artifacts() {
            std::fs::create_dir_all(&artifacts).unwrap();
            let path = builder.tempdir_in(artifacts).unwrap().keep();
            return Self { path, _temporary: None, settings: settings.into_iter().collect() };
        }
        let temporary = builder.tempdir().unwrap();
        let path = temporary.path().to_owned();
        Self { path, _temporary: Some(temporary), settings: settings.into_iter().collect() }
    }

    /// As [`Place::new`], with this database.
    pub(crate) fn on(url: &str) -> Self {
        Self { settings: vec![("HALLPASS_DATABASE_URL", url.to_owned())], ..Self::new() }
    }

    /// With one more setting.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("hallpass.db")
    }

    /// The program with these arguments, in this directory, with no setting from the outer environment. Password hashes are as cheap as they
    /// may be.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.current_dir(&self.path).stdin(Stdio::null()).args(args);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALLPASS_") || name == "CRON_SECRET" {
                command.env_remove(name);
            }
        }
        command.env("HALLPASS_PASSWORD_MEMORY_KIB", "7168").env("HALLPASS_PASSWORD_ITERATIONS", "1");
        // Where nobody listens, for `doctor`; whoever serves says where.
        command.env("HALLPASS_LISTEN", "127.0.0.1:1");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.run_with_input(args, "")
    }

    /// Runs a command to its end, with this on its standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that ends before it reads its input is no failure of the test.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// As [`Place::run`]; fails the test unless the command exits 0. Its standard output.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        succeeded(args, &self.run(args))
    }

    /// `hallpass user add`; the id of the new account.
    pub(crate) fn add_user(&self, email: &str, password: &str) -> String {
        self.add_user_with(email, password, &[])
    }

    /// As [`Place::add_user`], with more arguments.
    pub(crate) fn add_user_with(&self, email: &str, password: &str, more: &[&str]) -> String {
        record(password);
        let name = format!("Name of {email}");
        let args = [&["user", "add", email, "--name", &name, "--password-stdin", "--json"], more].concat();
        let printed = succeeded(&args, &self.run_with_input(&args, &format!("{password}\n")));
        let account: Value = serde_json::from_str(&printed).unwrap();
        account["id"].as_str().unwrap().to_owned()
    }

    /// `hallpass user passwd`.
    pub(crate) fn set_password(&self, email: &str, password: &str) {
        record(password);
        let args = ["user", "passwd", email, "--password-stdin"];
        succeeded(&args, &self.run_with_input(&args, &format!("{password}\n")));
    }

    /// Starts the server here.
    pub(crate) async fn serve(self) -> Server {
        self.serve_with(|_| {}).await
    }

    /// Starts the server here, after `change` had the command in hand.
    pub(crate) async fn serve_with(self, change: impl FnOnce(&mut Command)) -> Server {
        let log = std::fs::File::options().create(true).append(true).open(self.path.join("server.log")).unwrap();
        let mut command = self.command(&["serve"]);
        command.env("HALLPASS_LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).stderr(log);
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut server = Server { child, lines, origin: String::new(), place: self };
        let ready = server.line();
        let address = ready.strip_prefix("listening on ").unwrap_or_else(|| panic!("no readiness line: {ready:?}"));
        server.origin = address.to_owned();
        server
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment on what to run")]
fn database_of_this_run() -> Option<String> {
    match std::env::var("HALLPASS_TEST_ENGINE").as_deref() {
        Err(_) | Ok("" | "sqlite") => None,
        Ok("postgres") => Some(databases::fresh_postgres()),
        Ok(other) => panic!("HALLPASS_TEST_ENGINE names {other}: use sqlite or postgres"),
    }
}

fn succeeded(args: &[&str], output: &Output) -> String {
    assert!(output.status.success(), "hallpass {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// `http://127.0.0.1:PORT`, as the readiness line said.
    pub(crate) origin: String,
    pub(crate) place: Place,
}

impl Server {
    /// On a fresh database and a free port, with the default settings (but cheap password hashes).
    pub(crate) async fn start() -> Self {
        Place::new().serve().await
    }

    /// As [`Server::start`], with these settings in the environment.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Place::new()
            .serve_with(|command| {
                command.envs(settings.iter().copied());
            })
            .await
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(_) => panic!("the server says nothing more; it exited: {:?}\n{}", self.child.try_wait(), self.log()),
        }
    }

    /// The one-time link of a first start.
    pub(crate) fn setup_link(&mut self) -> String {
        for _ in 0..5 {
            let line = self.line();
            if line.contains("/setup?code=") {
                return line.trim().to_owned();
            }
        }
        panic!("no link was printed");
    }

    /// An address of the server.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The port, for raw sockets.
    pub(crate) fn address(&self) -> String {
        self.origin.strip_prefix("http://").unwrap().to_owned()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.place.database()
    }

    /// The program beside the server: same directory, same database.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.place.command(args)
    }

    /// Adds an account through the command line; its id.
    pub(crate) fn add_user(&self, email: &str, password: &str) -> String {
        self.place.add_user(email, password)
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.place.path().join("server.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A browser without cookies.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.origin)
    }

    /// A browser that has signed in as Auth.js clients do.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Browser {
        let browser = self.browser();
        let answer = browser.sign_in(email, password).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(browser.session_token().is_some(), "{answer:?}");
        browser
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, `TERM` or `INT`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end; the exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let wait = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(code) => code,
            Err(_) => panic!("the server does not end"),
        }
    }

    /// Ends it as an operator does; where it ran, for another start.
    pub(crate) async fn stop(mut self) -> Place {
        self.signal("TERM");
        assert_eq!(self.ended().await, Some(0), "{}", self.log());
        std::mem::take(&mut self.place)
    }

    /// Ends it as a power cut does; where it ran, for another start.
    pub(crate) fn kill(mut self) -> Place {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.place)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
