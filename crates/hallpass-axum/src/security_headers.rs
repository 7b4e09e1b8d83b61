//! Security headers for each kind of answer.
//!
//! They *replace* what is there: call them before setting something else on purpose.

use http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

static CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
static CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// For HTML pages: scripts, styles, images and requests of this origin alone, nothing inline, no frames around it (ASVS 5.0,
/// 3.4.3 to 3.4.8).
///
/// `Referrer-Policy` is `same-origin`, not `no-referrer`: under the latter browsers send `Origin: null` with the form posts of the page (Fetch
/// standard, "append a request `Origin` header"), and one that sends no `Sec-Fetch-Site` would be refused as cross-origin. To
/// other origins nothing is sent either way.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// hallpass_axum::headers::page(&mut headers);
/// assert_eq!(headers["x-content-type-options"], "nosniff");
/// ```
pub fn page(headers: &mut HeaderMap) {
    common(headers);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    headers.insert(&CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin"));
}

/// For JSON and everything else that is not to be shown: never rendered, never sniffed, never framed (ASVS 5.0, 3.2.1).
pub fn data(headers: &mut HeaderMap) {
    common(headers);
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY));
}

/// For style sheets, modules and pictures. A picture opened by itself is a document: it may style itself and do nothing else.
pub fn asset(headers: &mut HeaderMap) {
    common(headers);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
}

fn common(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(&CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}
