//! A Rust backend beside a Next.js front end, with sessions in the database of the front end's Auth.js: who signs in there is signed in here, and the session manager here
//! shows and ends what Auth.js made.
//!
//! `DATABASE_URL=postgres://... PUBLIC_URL=https://app.example cargo run -p example-beside-nextjs`, behind a proxy that sends `/backend` here and everything else to Next.js.
//! docs/INTEGRATION.md has the whole of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hallpass::authjs::{AuthjsOptions, AuthjsStore};
use hallpass::axum::{CookieName, SelfService, Session, Web, self_service};
use hallpass::{Class, Policies, Sessions, SignIn, StoreError};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = setting("DATABASE_URL")?;
    let address = setting("LISTEN").unwrap_or_else(|_| String::from("127.0.0.1:3001"));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let origin =
        setting("PUBLIC_URL").or_else(|_| Ok::<_, std::io::Error>(format!("http://{}", listener.local_addr()?)))?;

    // The application's session.maxAge and session.updateAge are those of Auth.js by default, 30 days and one; so are these.
    let policies = Policies::default();
    let mut options = AuthjsOptions::of(policies.of(&Class::WEB));
    // With the adapter hallpass-authjs-adapter and its `hash: true`.
    options.hashes_tokens = setting("TOKENS").is_ok_and(|tokens| tokens == "sha256");
    let sessions = Sessions::builder(Arc::new(open(&database, options).await?)).policies(policies).build()?;
    let background = sessions.start_background();
    let web = Web::builder(sessions.clone(), &origin)
        .cookie_name(CookieName::Authjs5)
        .sign_in_path("/api/auth/signin")
        // Whose word counts for where a browser is: the proxy before both, on this machine.
        .trusted_proxies(["127.0.0.1/32".parse()?])
        .build()?;
    let backend = Router::new()
        .route("/me", get(me))
        .route("/devices", post(add_device).with_state(sessions))
        .nest("/account", self_service(&web, SelfService::default()))
        .layer(web.layer());
    let app = Router::new().nest("/backend", backend);

    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    background.shutdown().await;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place where this program reads its settings")]
fn setting(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

async fn open(url: &str, options: AuthjsOptions) -> Result<AuthjsStore, StoreError> {
    match url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => AuthjsStore::connect_postgres(url, options).await,
        Some(("mysql" | "mariadb", _)) => AuthjsStore::connect_mysql(url, options).await,
        Some(("sqlite" | "file", path)) => AuthjsStore::open_sqlite(Path::new(path), options).await,
        _ => Err(StoreError::unavailable("DATABASE_URL begins with none of postgres:, mysql: and sqlite:")),
    }
}

/// Who is signed in, by whichever side.
async fn me(session: Session) -> Response {
    Json(json!({ "user": session.user.as_str(), "session": session.id.to_string() })).into_response()
}

/// A session for another device of who is signed in, which Auth.js accepts as well. Its token is told once.
async fn add_device(session: Session, State(sessions): State<Sessions>) -> Response {
    match sessions.create(SignIn::new(session.user.clone()).source("device")).await {
        Ok(issued) => Json(json!({ "token": issued.token.expose().as_str() })).into_response(),
        Err(_) => axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
