//! Settings that cannot be used are refused at start, each by name and with the fix.

use std::time::Duration;

use hallpass_axum::{SelfService, Web, WebBuilder, WebError};
use hallpass_core::Sessions;
use secrecy::SecretString;

use crate::faulty_store::FaultyStore;

fn builder(url: &str) -> WebBuilder {
    Web::builder(Sessions::builder(FaultyStore::new()).build().unwrap(), url)
}

fn refused(builder: WebBuilder, words: &[&str]) {
    let text = builder.build().unwrap_err().to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn a55_http_needs_loopback_or_the_explicit_word() {
    for (url, name) in [
        ("https://app.example", "__Host-session"),
        ("https://127.0.0.1:8443", "__Host-session"),
        ("http://127.0.0.1:8080", "session"),
        ("http://localhost:3000", "session"),
        ("http://[::1]:3000", "session"),
    ] {
        assert_eq!(builder(url).build().unwrap().cookie_name(), name, "{url}");
    }
    for url in ["http://app.example", "http://192.168.0.1", "http://localhost.example"] {
        refused(builder(url), &["public URL", url, "https", "allow_insecure_http"]);
        assert_eq!(builder(url).allow_insecure_http(true).build().unwrap().cookie_name(), "session");
    }
    for url in ["", "null", "app.example", "https://", "https://app.example/", "https://app.example/x"] {
        refused(builder(url), &["public URL", "https://app.example"]);
    }
}

#[tokio::test]
async fn trusted_origins_have_the_strict_form() {
    for origin in [
        "example.com",
        "https://",
        "https://a.example/",
        "https://a.example/p",
        "https://a.example?q",
        "https://a.example#f",
        "null",
        "",
    ] {
        refused(builder("https://app.example").trusted_origins([origin]), &["trusted_origins"]);
    }
    refused(
        builder("https://app.example").trusted_origins(["http://a.example"]),
        &["trusted_origins", "allow_insecure_http"],
    );
    builder("https://app.example").trusted_origins(["https://a.example", "http://localhost:5173"]).build().unwrap();
}

#[tokio::test]
async fn a39_the_sign_in_path_stays_on_this_origin() {
    for path in [
        "",
        "signin",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/a b",
        "/a\r\nx: y",
        "/signin?x=1",
        "/signin#x",
    ] {
        refused(builder("https://app.example").sign_in_path(path), &["sign_in_path", "/signin"]);
    }
    let web = builder("https://app.example").sign_in_path("/auth/signin").build().unwrap();
    assert_eq!(web.sign_in_path(), Some("/auth/signin"));
}

#[tokio::test]
async fn no_time_out_of_zero() {
    refused(builder("https://app.example").store_timeout(Duration::ZERO), &["store_timeout"]);
}

#[test]
fn a31_weak_cleanup_secrets_are_refused_at_construction() {
    let set = |secret: &str| SelfService::default().cleanup_secret(Some(SecretString::from(secret)));
    for secret in ["", " ", "undefined", "null", &"x".repeat(31)] {
        let error = set(secret).unwrap_err();
        assert_eq!(error, WebError::CleanupSecret(secret.len()));
        let text = error.to_string();
        assert!(text.contains("CRON_SECRET") && text.contains("openssl rand"), "{text}");
    }
    assert_eq!(set(&format!("{}\n", "x".repeat(40))).unwrap_err(), WebError::CleanupSecretForm);
    assert_eq!(set(&" ".repeat(40)).unwrap_err(), WebError::CleanupSecretForm);
    assert!(set(&"x".repeat(32)).is_ok());
    assert!(SelfService::default().cleanup_secret(None).is_ok());
}

#[test]
fn a52_the_secret_is_not_in_debug_output() {
    let secret = "0123456789012345678901234567890123456789";
    let settings = SelfService::default().cleanup_secret(Some(SecretString::from(secret))).unwrap();
    assert!(!format!("{settings:?}").contains("0123"));
}
