//! One axum handler in three forms: `bare`, behind a `by-hand` read, and behind `hallpass` in strict mode.
//!
//! `server prepare DIR COUNT` makes the database and the tokens; `server MODE DIR LISTEN` serves.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use axum::http::{HeaderMap, StatusCode, header::COOKIE};
use axum::{Router, routing::get};
use hallpass::axum::{Session, Web};
use hallpass_bench::{Error, check_by_hand, fill, fill_by_hand, open, reader};

static DATABASE: OnceLock<PathBuf> = OnceLock::new();

thread_local! {
    static CONNECTION: OnceCell<rusqlite::Connection> = const { OnceCell::new() };
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, directory, third] = arguments.as_slice() else {
        return Err("usage: server prepare DIR COUNT | server bare|by-hand|hallpass DIR LISTEN".into());
    };
    let directory = Path::new(directory);
    let database = directory.join("sessions.db");
    if mode == "prepare" {
        let sessions = open(&database).await?;
        let tokens = fill(&sessions, third.parse()?).await?;
        drop(sessions);
        fill_by_hand(&database, &tokens)?;
        std::fs::write(directory.join("tokens"), tokens.join("\n"))?;
        return Ok(());
    }
    let app = match mode.as_str() {
        "bare" => Router::new().route("/", get(bare)),
        "by-hand" => {
            DATABASE.set(database).map_err(|_| "set twice")?;
            Router::new().route("/", get(by_hand))
        }
        "hallpass" => {
            let web = Web::builder(open(&database).await?, &format!("http://{third}")).build()?;
            Router::new().route("/", get(behind)).layer(web.layer())
        }
        other => return Err(format!("no mode {other}").into()),
    };
    let listener = tokio::net::TcpListener::bind(third.as_str()).await?;
    println!("listening");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn bare() -> &'static str {
    "user-0000000"
}

async fn by_hand(headers: HeaderMap) -> Result<String, StatusCode> {
    let token = headers
        .get(COOKIE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').find_map(|pair| pair.trim().strip_prefix("session=")))
        .ok_or(StatusCode::UNAUTHORIZED)?;
    CONNECTION.with(|cell| {
        if cell.get().is_none() {
            let path = DATABASE.get().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
            let connection = reader(path).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            cell.set(connection).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        }
        let connection = cell.get().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
        check_by_hand(connection, token, now)
            .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?
            .ok_or(StatusCode::UNAUTHORIZED)
    })
}

async fn behind(session: Session) -> String {
    session.user.to_string()
}
