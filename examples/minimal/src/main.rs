//! Sign-in, a page that needs it, and the session manager, on SQLite.
//!
//! `cargo run -p example-minimal`, then open <http://127.0.0.1:3000/>.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Form;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hallpass::axum::{SelfService, Session, SessionHandle, Web, self_service};
use hallpass::sqlite::{SqliteOptions, SqliteStore};
use hallpass::{Sessions, SignIn, UserId};
use serde::Deserialize;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| String::from("127.0.0.1:3000"));
    let database = arguments.next().unwrap_or_else(|| String::from("minimal.db"));
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let origin = format!("http://{}", listener.local_addr()?);

    let store = SqliteStore::open(&database, SqliteOptions::default()).await?;
    let sessions = Sessions::builder(Arc::new(store)).build()?;
    let background = sessions.start_background();
    let web = Web::builder(sessions, &origin).sign_in_path("/").build()?;
    let app = Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/me", get(me))
        .nest("/account", self_service(&web, SelfService::default()))
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

async fn home(session: Option<Session>) -> Response {
    match session {
        Some(_) => Redirect::to("/account/sessions").into_response(),
        None => Html(
            r#"<!doctype html><html lang="en"><title>Sign in</title><h1>Sign in</h1>
<form method="post" action="/sign-in"><label>Name <input name="name" required></label> <button>Sign in</button></form>"#,
        )
        .into_response(),
    }
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
}

/// Any name will do here: checking passwords is the application's part.
async fn sign_in(handle: SessionHandle, Form(form): Form<Credentials>) -> Response {
    let Ok(user) = UserId::new(form.name) else {
        return (axum::http::StatusCode::UNPROCESSABLE_ENTITY, "a name has 1 to 255 bytes").into_response();
    };
    match handle.sign_in(SignIn::new(user).method("pwd")).await {
        Ok(_) => Redirect::to("/account/sessions").into_response(),
        Err(error) => error.into_response(),
    }
}

async fn me(session: Session) -> Json<String> {
    Json(session.user.to_string())
}
