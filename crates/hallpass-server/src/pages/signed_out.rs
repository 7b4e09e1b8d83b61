//! The page of somebody who has signed out here, and whose provider could not be asked to do the same.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page;

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOutPage<'a> {
    name: &'a str,
    target: &'a str,
}

/// Says what may still be open at the provider called `name`, and goes on to `target`.
pub(crate) fn show(name: &str, target: &str) -> Response {
    page(StatusCode::OK, &SignedOutPage { name, target })
}
