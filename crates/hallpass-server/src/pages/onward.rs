//! The page between this server and a provider, for browsers that post a form.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page;

#[derive(Template)]
#[template(path = "onward.html")]
struct OnwardPage<'a> {
    name: &'a str,
    address: &'a str,
}

/// Goes on to `address` by itself, and has a link for who prefers to go.
pub(crate) fn show(name: &str, address: &str) -> Response {
    page(StatusCode::OK, &OnwardPage { name, address })
}
