//! The page's style sheet, picture and modules, from the program itself.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use super::Desk;
use crate::security_headers;

struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const MODULE: &str = "text/javascript; charset=utf-8";

static ASSETS: [Asset; 4] = [
    Asset { path: "/assets/hallpass.css", content_type: CSS, bytes: include_bytes!("../../assets/hallpass.css") },
    Asset {
        path: "/assets/hallpass.svg",
        content_type: "image/svg+xml",
        bytes: include_bytes!("../../assets/hallpass.svg"),
    },
    Asset { path: "/assets/sessions.js", content_type: MODULE, bytes: include_bytes!("../../assets/sessions.js") },
    Asset { path: "/assets/times.js", content_type: MODULE, bytes: include_bytes!("../../assets/times.js") },
];

/// One route for each asset.
pub(super) fn routes() -> Router<Arc<Desk>> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let tag = tag(asset.bytes);
        router.route(asset.path, get(move |headers: HeaderMap| std::future::ready(answer(asset, &tag, &headers))))
    })
}

/// A strong validator made of the content, so that a new version of the program is seen at once.
fn tag(bytes: &[u8]) -> HeaderValue {
    let mut text = String::from("\"");
    for byte in &Sha256::digest(bytes)[..8] {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

fn answer(asset: &Asset, tag: &HeaderValue, headers: &HeaderMap) -> Response {
    let known = headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        let tags = value.as_bytes().split(|byte| *byte == b',');
        // Weak comparison (RFC 9110, section 13.1.2): proxies that compress make the tag weak.
        tags.map(<[u8]>::trim_ascii)
            .any(|each| each == b"*" || each.strip_prefix(b"W/").unwrap_or(each) == tag.as_bytes())
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
    };
    let headers = response.headers_mut();
    security_headers::asset(headers);
    headers.insert(ETAG, tag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
