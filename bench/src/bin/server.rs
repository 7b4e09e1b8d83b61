//! One axum handler in six forms: `bare`, behind a `by-hand` read, behind hallpass (`strict` or `cached`), and behind the verification of a signed token
//! (`hs256`, `eddsa`).
//!
//! `server prepare URL TOKENS COUNT` makes the sessions and a file of their tokens; `server MODE URL LISTEN` serves.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::COOKIE};
use axum::{Router, routing::get};
use hallpass::axum::{Session, Web};
use hallpass::{CacheSettings, ValidationMode};
use hallpass_bench::by_hand::{self, ByHand};
use hallpass_bench::jwt::Jwt;
use hallpass_bench::{Error, fill, open};

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (mode, url, listen) = match arguments.as_slice() {
        ["prepare", url, tokens, count] => {
            let sessions = open(url, ValidationMode::Strict).await?;
            let made = fill(&sessions, count.parse()?).await?;
            drop(sessions);
            by_hand::fill(url, &made).await?;
            std::fs::write(tokens, made.join("\n"))?;
            for algorithm in ["hs256", "eddsa"] {
                let jwt = Jwt::new(algorithm)?;
                let signed: Vec<String> = (0..10_000).map(|number| jwt.sign(number)).collect::<Result<_, _>>()?;
                std::fs::write(format!("{tokens}.{algorithm}"), signed.join("\n"))?;
            }
            return Ok(());
        }
        [mode, url, listen] => (*mode, *url, *listen),
        _ => return Err("usage: server prepare URL TOKENS COUNT | server bare|by-hand|strict|cached|hs256|eddsa URL LISTEN".into()),
    };
    let mut background = None;
    let app = match mode {
        "bare" => Router::new().route("/", get(bare)),
        "by-hand" => Router::new().route("/", get(by_hand)).with_state(Arc::new(ByHand::open(url).await?)),
        "strict" | "cached" => {
            let mut settings = CacheSettings::default();
            settings.bytes = 1 << 30;
            let mode = if mode == "cached" { ValidationMode::Cached(settings) } else { ValidationMode::Strict };
            let sessions = open(url, mode).await?;
            background = Some(sessions.start_background());
            let web = Web::builder(sessions, &format!("http://{listen}")).build()?;
            Router::new().route("/", get(behind)).layer(web.layer())
        }
        "hs256" | "eddsa" => Router::new().route("/", get(signed)).with_state(Arc::new(Jwt::new(mode)?)),
        other => return Err(format!("no mode {other}").into()),
    };
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening");
    axum::serve(listener, app).await?;
    drop(background);
    Ok(())
}

async fn bare() -> &'static str {
    "user-0000000"
}

fn token(headers: &HeaderMap) -> Result<&str, StatusCode> {
    headers
        .get(COOKIE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').find_map(|pair| pair.trim().strip_prefix("session=")))
        .ok_or(StatusCode::UNAUTHORIZED)
}

async fn signed(State(jwt): State<Arc<Jwt>>, headers: HeaderMap) -> Result<String, StatusCode> {
    let claims = jwt.verify(token(&headers)?).map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(claims.sub)
}

async fn by_hand(State(by_hand): State<Arc<ByHand>>, headers: HeaderMap) -> Result<String, StatusCode> {
    let token = token(&headers)?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let found = by_hand.check(token, now).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    found.ok_or(StatusCode::UNAUTHORIZED)
}

async fn behind(session: Session) -> String {
    session.user.to_string()
}
