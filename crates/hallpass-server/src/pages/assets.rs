//! What the server's own pages need beside the assets of the session manager page.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hallpass_axum::headers;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::serve::site::Site;

const PASSWORD_JS: &[u8] = include_bytes!("../../assets/password.js");

/// One route for each asset.
pub(crate) fn routes() -> Router<Arc<Site>> {
    let tag = tag(PASSWORD_JS);
    Router::new().route(
        "/assets/password.js",
        get(move |headers: HeaderMap| std::future::ready(answer(PASSWORD_JS, &tag, &headers))),
    )
}

/// A strong validator made of the content, so that a new version of the program is seen at once.
fn tag(bytes: &[u8]) -> HeaderValue {
    let digits: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{digits}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

fn answer(bytes: &'static [u8], tag: &HeaderValue, request: &HeaderMap) -> Response {
    let known = request.get_all(IF_NONE_MATCH).iter().any(|value| {
        // Weak comparison (RFC 9110, section 13.1.2): proxies that compress make the tag weak.
        let mut tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|each| each == b"*" || each.strip_prefix(b"W/").unwrap_or(each) == tag.as_bytes())
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], bytes).into_response()
    };
    let out = response.headers_mut();
    headers::asset(out);
    out.insert(ETAG, tag.clone());
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
