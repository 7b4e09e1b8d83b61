//! The hallpass server and command line: configuration, accounts, sign-in and operators' commands.
//!
//! Nothing depends on this crate. An application that wants sessions in its own process uses the
//! `hallpass` library.

pub mod accounts;
pub mod app;
mod auth;
mod authjs_catalogue;
pub mod cli;
pub mod commands;
pub mod engine;
pub mod logging;
pub mod output;
mod pages;
pub mod password;
pub mod progress;
mod provider_counts;
mod provider_logouts;
mod providers;
pub mod rate_limit;
pub mod serve;
pub mod session_ends;
pub mod settings;
pub mod terminal_text;
pub mod timestamp;
