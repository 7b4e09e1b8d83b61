//! hallpass for tower and axum: layer, extractors, cookie, cross-origin defence, self-service routes and the session manager page
