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
    said: &'a str,
}

/// What the page says on the way to sign in.
pub(crate) const SIGNING_IN: &str = "You sign in there and come back.";
/// What it says on the way to sign out.
pub(crate) const SIGNED_OUT: &str = "You have signed out here. There you may be asked whether to sign out as well.";

/// Says `said`, goes on to `address` by itself, and has a link for who prefers to go.
pub(crate) fn show(name: &str, address: &str, said: &str) -> Response {
    page(StatusCode::OK, &OnwardPage { name, address, said })
}
