//! Behaviour over real sockets.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "in tests a surprise is a failure")]

mod app;
mod bad_input;
mod browser;
mod cached;
mod cleanup;
mod clients;
mod concurrency;
mod cookie_life;
mod engine;
mod faulty_store;
mod headers;
mod layer;
mod listing;
mod page;
mod self_service;
mod settings;
mod sign_in;
mod store_failure;
