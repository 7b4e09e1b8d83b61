//! A sensitive act that needs a recent authentication: `FreshSession`.
//!
//! `cargo run -p example-step-up`. The policy keeps a session fresh for two seconds, so that it can be watched growing stale.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Form;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hallpass::axum::{FreshSession, Session, SessionHandle, Web};
use hallpass::sqlite::{SqliteOptions, SqliteStore};
use hallpass::{Authentication, Class, Policies, Sessions, SignIn, UserId};
use serde::Deserialize;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| String::from("127.0.0.1:3001"));
    let database = arguments.next().unwrap_or_else(|| String::from("step_up.db"));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let origin = format!("http://{}", listener.local_addr()?);

    let mut web_policy = Policies::default().of(&Class::WEB).clone();
    web_policy.fresh_age = Duration::from_secs(2);
    let store = SqliteStore::open(&database, SqliteOptions::default()).await?;
    let sessions =
        Sessions::builder(Arc::new(store)).policies(Policies::default().with(Class::WEB, web_policy)?).build()?;
    let background = sessions.start_background();
    let web = Web::builder(sessions, &origin).build()?;
    let app = Router::new()
        .route("/sign-in", post(sign_in))
        .route("/confirm", post(confirm))
        .route("/balance", get(balance))
        .route("/transfer", post(transfer))
        .layer(web.layer());

    println!("listening on {origin}");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    background.shutdown().await;
    Ok(())
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
}

async fn sign_in(handle: SessionHandle, Form(form): Form<Credentials>) -> Response {
    let Ok(user) = UserId::new(form.name) else {
        return (axum::http::StatusCode::UNPROCESSABLE_ENTITY, "a name has 1 to 255 bytes").into_response();
    };
    match handle.sign_in(SignIn::new(user).method("pwd")).await {
        Ok(_) => "signed in".into_response(),
        Err(error) => error.into_response(),
    }
}

/// Asks for the password again (here: takes the user's word) and rotates the token.
async fn confirm(_session: Session, handle: SessionHandle) -> Response {
    let authentication = Authentication { methods: vec![String::from("pwd")], source: String::from("confirm") };
    match handle.reauthenticate(authentication).await {
        Ok(_) => "confirmed".into_response(),
        Err(error) => error.into_response(),
    }
}

/// Any session will do to look.
async fn balance(session: Session) -> Json<String> {
    Json(format!("{} has 100", session.user))
}

/// Only a fresh one may act.
async fn transfer(session: FreshSession) -> Json<String> {
    Json(format!("{} transferred 10", session.user))
}
