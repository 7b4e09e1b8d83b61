//! The sign-in contract of Auth.js clients, over real sockets against the real program.

mod support;

use std::time::Duration;

use hallpass_core::{OsEntropy, SessionId, Token};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use support::{Browser, Place, Server, new_password, with_query};

const EMAIL: &str = "alice@example.org";
const CALLBACK: &str = "/api/auth/callback/credentials";

async fn house() -> (Server, String) {
    let server = Server::start().await;
    let password = new_password();
    server.add_user(EMAIL, &password);
    (server, password)
}

/// Whether a token alone opens the API.
async fn opens(server: &Server, token: &str) -> bool {
    let browser = server.browser();
    browser.set_cookie("session", token);
    browser.is_signed_in().await
}

#[tokio::test]
async fn the_requests_of_an_unmodified_next_auth_client() {
    let (server, password) = house().await;
    let browser = server.browser();

    // signIn("credentials", { email, password, redirect: false })
    let providers = browser.get("/api/auth/providers").await;
    assert_eq!((providers.status, providers.header("content-type")), (200, "application/json"));
    assert_eq!(providers.set_cookies(), Vec::<String>::new());
    let origin = &server.origin;
    assert_eq!(
        providers.json(),
        json!({"credentials": {
            "id": "credentials",
            "name": "Credentials",
            "type": "credentials",
            "signinUrl": format!("{origin}/api/auth/signin/credentials"),
            "callbackUrl": format!("{origin}/api/auth/callback/credentials"),
        }})
    );
    let csrf = browser.get("/api/auth/csrf").await;
    let token = csrf.json()["csrfToken"].as_str().unwrap().to_owned();
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    let cookie = csrf.set_cookie("authjs.csrf-token").unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert!(value.starts_with(&format!("authjs.csrf-token={token}%7C")) && value.len() == 18 + 64 + 3 + 64);
    for answer in [&csrf, &browser.get("/api/auth/session").await] {
        assert_eq!(answer.header("cache-control"), "private, no-cache, no-store");
        assert_eq!((answer.header("expires"), answer.header("pragma")), ("0", "no-cache"));
    }
    // A valid cookie is reused and not set again.
    let again = browser.get("/api/auth/csrf").await;
    assert_eq!((again.json(), again.set_cookies()), (csrf.json(), Vec::new()));

    let here = server.at("/some/page?a=b");
    let fields = [("email", EMAIL), ("password", &password), ("csrfToken", &token), ("callbackUrl", &here)];
    let answer = browser.post(&format!("{CALLBACK}?"), &fields).await;
    assert_eq!((answer.status, answer.url()), (200, here.clone()));
    assert_eq!(answer.header("location"), here, "beside the JSON");
    let cookie = answer.set_cookie("session").unwrap();
    let (value, attributes) = cookie.split_once("; ").unwrap();
    assert!(value.starts_with("session=hp_"));
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/", "ends with the browser");

    // getSession()
    let read = browser.get("/api/auth/session").await;
    let body = read.json();
    assert_eq!(body["user"], json!({"name": "Name of alice@example.org", "email": EMAIL, "image": null}));
    assert_eq!(body.as_object().unwrap().len(), 2);
    let expires = body["expires"].as_str().unwrap();
    assert!(expires.len() == 24 && expires.ends_with('Z'), "{expires}");
    assert_eq!(read.set_cookies(), Vec::<String>::new(), "reading writes nothing");
    assert!(!read.body.contains("hp_"));

    // update()
    let csrf_token = browser.csrf().await;
    let post = |token: &str| {
        browser.request(Method::POST, "/api/auth/session").json(&json!({"csrfToken": token, "data": {"a": 1}}))
    };
    assert_eq!(Browser::send(post(&csrf_token)).await.json(), body);
    let refused = Browser::send(post("x")).await;
    assert_eq!((refused.status, refused.json()), (400, Value::Null));

    // signOut({ redirect: false })
    let session = browser.session_token().unwrap();
    let fields = [("csrfToken", csrf_token.as_str()), ("callbackUrl", &here)];
    let answer = browser.post("/api/auth/signout", &fields).await;
    assert_eq!((answer.status, answer.url()), (200, here));
    let removal = answer.set_cookie("session").unwrap();
    assert_eq!(removal, "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(browser.get("/api/auth/session").await.json(), Value::Null);
    assert!(!opens(&server, &session).await, "ended in the database, not only in the browser");
    // Without a session it just redirects.
    let csrf = browser.csrf().await;
    let answer = browser.post("/api/auth/signout", &[("csrfToken", &csrf)]).await;
    assert_eq!((answer.status, answer.url()), (200, server.origin.clone()));
}

#[tokio::test]
async fn a_form_post_is_redirected() {
    let (server, password) = house().await;
    let browser = server.browser();
    let csrf = browser.csrf().await;
    let fields = [("email", EMAIL), ("password", &password), ("csrfToken", &csrf), ("callbackUrl", "/sessions")];
    let answer = browser.submit(CALLBACK, &fields).await;
    assert_eq!((answer.status, answer.header("location")), (302, server.at("/sessions").as_str()));
    assert!(browser.is_signed_in().await);
    let csrf = browser.csrf().await;
    let answer = browser.submit("/api/auth/signout", &[("csrfToken", &csrf)]).await;
    assert_eq!((answer.status, answer.header("location")), (302, server.origin.as_str()));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn remember_makes_another_class_whose_cookie_stays() {
    let (server, password) = house().await;
    for (value, remembered) in [("true", true), ("on", true), ("", false), ("false", false)] {
        let browser = server.browser();
        let answer = browser.sign_in_with(EMAIL, &password, &[("remember", value)]).await;
        let cookie = answer.set_cookie("session").unwrap();
        assert_eq!(cookie.contains("Max-Age=") && cookie.contains("Expires="), remembered, "{cookie}");
    }
    let listed: Value = serde_json::from_str(&server.place.done(&["sessions", "list", "--json"])).unwrap();
    assert_eq!(listed.to_string().matches("\"class\":\"remembered\"").count(), 2);
}

#[tokio::test]
async fn a_failure_tells_nothing_and_sets_nothing() {
    let (server, password) = house().await;
    let disabled = "disabled@example.org";
    server.add_user(disabled, &password);
    server.place.done(&["user", "disable", disabled]);
    let expected = server.at("/signin?error=CredentialsSignin&code=credentials");
    let wrong = new_password();
    for (email, typed) in [
        (EMAIL, wrong.as_str()),
        (EMAIL, "short"),
        (EMAIL, ""),
        ("nobody@example.org", &password),
        (disabled, &password),
        ("not an address", &password),
        ("", ""),
    ] {
        let browser = server.browser();
        let answer = browser.sign_in(email, typed).await;
        assert_eq!((answer.status, answer.url()), (200, expected.clone()), "{email}");
        assert_eq!(answer.set_cookies(), Vec::<String>::new(), "{email}");
        assert!(!browser.is_signed_in().await);
    }
    // The address is an account's name in every spelling; the password is taken as it is.
    assert_eq!(server.browser().sign_in(" Alice@Example.ORG ", &password).await.url(), server.at("/"));
    let answer = server.browser().sign_in(EMAIL, &format!("{password} ")).await;
    assert_eq!(answer.url(), expected);
    let log = server.log();
    assert!(log.contains("authn_login_fail") && log.contains("authn_login_success"), "{log}");
    assert!(!log.contains(&password) && !log.contains(&wrong));
}

#[tokio::test]
async fn csrf_tokens_are_required_everywhere() {
    let (server, password) = house().await;
    let missing = server.at("/signin?error=MissingCSRF");
    let other = server.browser().csrf().await;
    let long = "a".repeat(64);
    for token in [None, Some(""), Some("undefined"), Some(other.as_str()), Some(long.as_str())] {
        for path in [
            CALLBACK,
            "/api/auth/signin/credentials",
            "/api/auth/signin",
            "/api/auth/signout",
            "/api/auth/callback/nobody",
        ] {
            let browser = server.sign_in(EMAIL, &password).await;
            browser.csrf().await;
            let mut fields = vec![("email", EMAIL), ("password", password.as_str())];
            fields.extend(token.map(|token| ("csrfToken", token)));
            let answer = browser.post(path, &fields).await;
            assert_eq!((answer.status, answer.url()), (200, missing.clone()), "{path} {token:?}");
            assert_eq!(answer.set_cookies(), Vec::<String>::new());
            assert!(browser.is_signed_in().await, "{path} changed nothing");
        }
        let browser = server.browser();
        browser.csrf().await;
        let body = json!({"csrfToken": token, "data": {}});
        let answer = Browser::send(browser.request(Method::POST, "/api/auth/session").json(&body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, "null"));
    }
    // A right token without its cookie.
    let browser = server.browser();
    let token = browser.csrf().await;
    browser.drop_cookie("authjs.csrf-token");
    let fields = [("email", EMAIL), ("password", password.as_str()), ("csrfToken", &token)];
    assert_eq!(browser.post(CALLBACK, &fields).await.url(), missing);
    assert!(browser.session_token().is_none());
}

#[tokio::test]
async fn a04_a_csrf_token_from_before_sign_in_is_refused_after_it() {
    let (server, password) = house().await;
    let browser = server.browser();
    let before = browser.csrf().await;
    let planted = browser.cookie("authjs.csrf-token").unwrap();
    browser.sign_in(EMAIL, &password).await;
    let renewed = browser.cookie("authjs.csrf-token").unwrap();
    assert_ne!(planted, renewed, "the sign-in brought a new one");
    let missing = server.at("/signin?error=MissingCSRF");
    assert_eq!(browser.post("/api/auth/signout", &[("csrfToken", &before)]).await.url(), missing);
    // Not even with the cookie it belonged to, as a sibling host could plant it.
    browser.set_cookie("authjs.csrf-token", &planted);
    assert_eq!(browser.post("/api/auth/signout", &[("csrfToken", &before)]).await.url(), missing);
    assert!(browser.is_signed_in().await);
    // Nor does one sign-in's token outlive the next sign-in to the same session.
    browser.set_cookie("authjs.csrf-token", &renewed);
    let first = browser.csrf().await;
    assert!(renewed.starts_with(&first), "the cookie's own token is the one handed out");
    browser.sign_in(EMAIL, &password).await;
    browser.set_cookie("authjs.csrf-token", &renewed);
    assert_eq!(browser.post("/api/auth/signout", &[("csrfToken", &first)]).await.url(), missing);
    browser.drop_cookie("authjs.csrf-token");
    let csrf = browser.csrf().await;
    assert_eq!(browser.post("/api/auth/signout", &[("csrfToken", &csrf)]).await.url(), server.origin);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a32_other_origins_are_refused_before_any_token_is_looked_at() {
    let (server, password) = house().await;
    let browser = server.browser();
    let csrf = browser.csrf().await;
    let fields = [("email", EMAIL), ("password", password.as_str()), ("csrfToken", &csrf)];
    for (name, value) in [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")] {
        let answer = Browser::send(browser.request(Method::POST, CALLBACK).header(name, value).form(&fields)).await;
        assert_eq!(answer.status, 403, "{value}");
        assert_eq!(answer.set_cookies(), Vec::<String>::new());
    }
    let plain = reqwest::Client::new();
    for origin in ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"] {
        let answer = plain.post(server.at(CALLBACK)).header("origin", origin).form(&fields).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{origin}");
    }
    assert_eq!(browser.post(CALLBACK, &fields).await.url(), server.origin);
}

#[tokio::test]
async fn a19_too_many_failures_are_429_for_that_account_only() {
    let (server, password) = house().await;
    let other = "bob@example.org";
    server.add_user(other, &password);
    let browser = server.browser();
    for _ in 0..10 {
        let answer = browser.sign_in(EMAIL, "not the password of anybody").await;
        assert_eq!(answer.status, 200);
    }
    // Also with the right password, or a guesser would learn it from the difference.
    for typed in ["not the password of anybody", &password] {
        let answer = browser.sign_in(EMAIL, typed).await;
        assert_eq!((answer.status, answer.url()), (429, server.at("/signin?error=RateLimited")));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert_eq!(answer.set_cookies(), Vec::<String>::new());
    }
    let csrf = browser.csrf().await;
    let fields =
        [("email", EMAIL), ("password", password.as_str()), ("csrfToken", &csrf), ("callbackUrl", "/sessions")];
    let page = browser.submit(CALLBACK, &fields).await;
    assert_eq!((page.status, page.header("content-type")), (429, "text/html; charset=utf-8"));
    assert!(page.body.contains("Too many failed attempts") && page.body.contains(EMAIL), "{}", page.body);
    assert_eq!(page.hidden("callbackUrl"), server.at("/sessions"));
    assert!(!page.header("retry-after").is_empty() && !page.body.contains(&password));
    assert_eq!(server.browser().sign_in(other, &password).await.status, 200);
    assert!(server.log().contains("excess_rate_limit_exceeded"));
}

#[tokio::test]
async fn right_passwords_are_never_limited() {
    let (server, password) = house().await;
    for _ in 0..40 {
        let answer = server.browser().sign_in(EMAIL, &password).await;
        assert_eq!(answer.url(), server.at("/"));
    }
}

#[tokio::test]
async fn too_many_sign_ins_at_once_are_503_and_nobody_waits_long() {
    let server = Place::new()
        .serve_with(|command| {
            command.env("HALLPASS_TRUSTED_PROXIES", "127.0.0.1");
            command.env("HALLPASS_PASSWORD_MEMORY_KIB", "32768").env("HALLPASS_PASSWORD_ITERATIONS", "2");
        })
        .await;
    let browser = server.browser();
    let csrf = browser.csrf().await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let tasks: Vec<_> = (0..cores * 17 + 40)
        .map(|n| {
            let email = format!("user{n}@example.org");
            let fields = [("email", email.as_str()), ("password", "whatever it may be"), ("csrfToken", &csrf)];
            let request = browser.request(Method::POST, CALLBACK).header("x-auth-return-redirect", "1");
            // From an address of its own, so that the limit for addresses plays no part.
            let request = request.header("x-forwarded-for", format!("192.0.2.{}", n % 250)).form(&fields);
            tokio::spawn(Browser::send(request))
        })
        .collect();
    let (mut busy, mut wrong) = (0, 0);
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            503 => {
                assert_eq!(answer.url(), server.at("/signin?error=Overloaded"));
                assert!(!answer.header("retry-after").is_empty());
                busy += 1;
            }
            200 => {
                assert!(answer.url().contains("CredentialsSignin"));
                wrong += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(busy > 0 && wrong >= cores * 17, "{busy} busy, {wrong} wrong");
}

#[tokio::test]
async fn a39_a54_nobody_is_sent_to_another_origin() {
    let (server, password) = house().await;
    let evil = [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "/x\r\nSet-Cookie: session=planted",
        &format!("{}@evil.example/", server.origin),
        &format!("{}.evil.example/", server.origin),
        &format!("http://user:pass@{}/", server.address()),
        &format!("https://evil.example\\@{}/", server.address()),
        &server.origin.replace("http:", "https:"),
        "http://127.0.0.1/",
    ];
    let stays = |target: &str| target == server.origin || target.starts_with(&server.at("/"));
    for target in evil {
        let browser = server.browser();
        let answer = browser.sign_in_with(EMAIL, &password, &[("callbackUrl", target)]).await;
        assert_eq!((answer.status, answer.url()), (200, server.origin.clone()), "{target:?}");
        assert_eq!(answer.set_cookies().len(), 2, "{target:?}: session and CSRF token, nothing planted");

        let csrf = browser.csrf().await;
        let answer = browser.submit("/api/auth/signout", &[("csrfToken", &csrf), ("callbackUrl", target)]).await;
        assert_eq!((answer.status, answer.header("location")), (302, server.origin.as_str()), "{target:?}");

        let query = [("callbackUrl", target)];
        let page = browser.get(&with_query("/signin", &query)).await;
        assert_eq!(page.hidden("callbackUrl"), server.origin, "{target:?}");
        let answer = browser.get(&with_query("/api/auth/signin", &query)).await;
        assert!(answer.status == 302 && stays(answer.header("location")), "{target:?}: {answer:?}");
        assert!(!answer.header("location").contains("evil"), "{target:?}");

        let signed_in = server.sign_in(EMAIL, &password).await;
        let answer = signed_in.get(&with_query("/signin", &query)).await;
        assert_eq!((answer.status, answer.header("location")), (303, server.origin.as_str()), "{target:?}");
    }
}

#[tokio::test]
async fn a39_the_origin_is_configuration() {
    let (server, _) = house().await;
    let browser = server.browser();
    for path in
        ["/api/auth/providers", "/api/auth/signin", "/signin", "/", "/sessions", "/nope", "/api/auth/error?error=x"]
    {
        let request = browser
            .request(Method::GET, path)
            .header("accept", "text/html")
            .header("host", "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "https")
            .header("forwarded", "host=evil.example;proto=https");
        let answer = Browser::send(request).await;
        assert!(!format!("{answer:?}").contains("evil"), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a25_two_cookies_of_our_name_are_both_dead_after_a_sign_in() {
    let (server, password) = house().await;
    let bob = "bob@example.org";
    server.add_user(bob, &password);
    let one = server.sign_in(bob, &password).await.session_token().unwrap();
    let two = server.sign_in(EMAIL, &password).await.session_token().unwrap();
    let browser = server.browser();
    // One cookie of that name, whose value reads as two pairs on the wire.
    browser.set_cookie("session", &format!("{one}; session={two}"));
    assert!(!browser.is_signed_in().await, "which of the two is meant is anybody's guess");
    let answer = browser.sign_in(EMAIL, &password).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let fresh = browser.session_token().unwrap();
    assert!(fresh != one && fresh != two && fresh.starts_with("hp_"));
    assert!(!opens(&server, &one).await && !opens(&server, &two).await && opens(&server, &fresh).await);
}

#[tokio::test]
async fn a09_a_disabled_user_is_out_at_the_next_request() {
    let (server, password) = house().await;
    let browser = server.sign_in(EMAIL, &password).await;
    let other = server.sign_in(EMAIL, &password).await;
    assert!(browser.is_signed_in().await);
    // Another process, while the server runs.
    server.place.done(&["user", "disable", EMAIL]);
    assert!(!browser.is_signed_in().await && !other.is_signed_in().await);
    assert_eq!(
        server.browser().sign_in(EMAIL, &password).await.url(),
        server.at("/signin?error=CredentialsSignin&code=credentials")
    );
    server.place.done(&["user", "enable", EMAIL]);
    assert!(!other.is_signed_in().await, "enabling revives nothing");
    assert_eq!(server.browser().sign_in(EMAIL, &password).await.url(), server.at("/"));

    let browser = server.sign_in(EMAIL, &password).await;
    server.place.done(&["user", "delete", EMAIL]);
    assert!(!browser.is_signed_in().await);
    assert_eq!(browser.get("/api/auth/session").await.json(), Value::Null);
}

#[tokio::test]
async fn a08_a_new_password_ends_all_sessions() {
    let (server, old) = house().await;
    let browsers = [server.sign_in(EMAIL, &old).await, server.sign_in(EMAIL, &old).await];
    let new = new_password();
    server.place.set_password(EMAIL, &new);
    for browser in browsers {
        assert!(!browser.is_signed_in().await);
    }
    assert!(server.browser().sign_in(EMAIL, &old).await.url().contains("CredentialsSignin"));
    server.sign_in(EMAIL, &new).await;
}

#[tokio::test]
async fn a_session_revoked_from_the_shell_is_refused_at_the_next_request() {
    let (server, password) = house().await;
    let browser = server.sign_in(EMAIL, &password).await;
    let id = browser.get("/api/sessions").await.json()[0]["id"].as_str().unwrap().to_owned();
    server.place.done(&["sessions", "revoke", &id]);
    let read = browser.get("/api/auth/session").await;
    assert_eq!((read.status, read.json()), (200, Value::Null));
    assert!(read.set_cookie("session").unwrap().contains("Max-Age=0"), "A50: the dead cookie goes");
    assert!(browser.session_token().is_none());
}

#[tokio::test]
async fn everything_else_is_a_bad_request() {
    let (server, _) = house().await;
    let browser = server.browser();
    for path in [
        "csrf",
        "providers",
        "session",
        "signin",
        "signin/credentials",
        "signout",
        "callback/credentials",
        "error",
        "nonsense",
    ] {
        for method in ["HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "PROPFIND"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = Browser::send(browser.request(method.clone(), &format!("/api/auth/{path}"))).await;
            assert_eq!(answer.status, 400, "{method} {path}");
            let body = if method == Method::HEAD { "" } else { "\"Bad request.\"" };
            assert_eq!((answer.body.as_str(), answer.header("content-type")), (body, "application/json"));
            assert_eq!(answer.set_cookies(), Vec::<String>::new());
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
    for path in ["/api/auth", "/api/auth/", "/api/auth/nonsense", "/api/auth/callback", "/api/auth/a/b/c"] {
        let answer = browser.visit(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, "\"Bad request.\""), "{path}");
    }
}

#[tokio::test]
async fn an_unknown_provider_is_a_configuration_error() {
    let (server, _) = house().await;
    let browser = server.browser();
    let csrf = browser.csrf().await;
    for path in ["/api/auth/signin/github", "/api/auth/callback/github"] {
        let answer = browser.post(path, &[("csrfToken", &csrf)]).await;
        assert_eq!((answer.status, answer.url()), (200, server.at("/api/auth/error?error=Configuration")), "{path}");
    }
    // A browser that comes from a provider gets a page, also when that provider is gone.
    for path in ["/api/auth/callback/github?code=a&state=b", "/api/auth/callback/credentials"] {
        let answer = browser.visit(path).await;
        let page = server.at("/api/auth/error?error=Configuration");
        assert_eq!((answer.status, answer.header("location")), (302, page.as_str()), "{path}");
    }
    let answer = browser.get("/api/auth/error?error=Configuration").await;
    assert_eq!((answer.status, answer.header("location")), (302, server.at("/signin?error=Configuration").as_str()));
    let answer = browser.get("/api/auth/error?error=%3Cscript%3E").await;
    assert_eq!(answer.header("location"), server.at("/signin?error=Default"));
    for path in ["/api/auth/signin", "/api/auth/signin/credentials"] {
        let answer = browser.post(path, &[("csrfToken", &csrf), ("callbackUrl", "/x?y=z")]).await;
        let back = with_query(&server.at("/signin"), &[("callbackUrl", &server.at("/x?y=z"))]);
        assert_eq!(answer.url(), back, "{path}");
    }
}

#[tokio::test]
async fn bodies_of_other_types_and_sizes_are_refused_and_change_nothing() {
    let (server, password) = house().await;
    let browser = server.sign_in(EMAIL, &password).await;
    let csrf = browser.csrf().await;
    let form = format!("csrfToken={csrf}");
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/xml"] {
        let request =
            browser.request(Method::POST, "/api/auth/signout").header("content-type", kind).body(form.clone());
        let answer = Browser::send(request).await;
        assert_eq!((answer.status, answer.json()), (415, json!({"error": "Unsupported Media Type"})), "{kind}");
    }
    let answer = Browser::send(browser.request(Method::POST, "/api/auth/signout").body(form.clone())).await;
    assert_eq!(answer.status, 415, "no type at all");
    let large = format!("{form}&x={}", "x".repeat(16 * 1024));
    let request = browser.request(Method::POST, "/api/auth/signout");
    let typed = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = Browser::send(typed.body(large.clone())).await;
    assert_eq!((answer.status, answer.json()), (413, json!({"error": "Payload Too Large"})));
    let json = browser.request(Method::POST, "/api/auth/session").header("content-type", "application/json");
    assert_eq!(Browser::send(json.body("{\"csrfToken\":")).await.status, 400);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn over_https_cookies_are_secure_and_prefixed() {
    let place = Place::new();
    let password = new_password();
    place.add_user(EMAIL, &password);
    let server = place
        .serve_with(|command| {
            command.env("HALLPASS_PUBLIC_URL", "https://id.example");
        })
        .await;
    let browser = server.browser();
    let csrf = browser.get("/api/auth/csrf").await;
    let cookie = csrf.set_cookie("__Host-authjs.csrf-token").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
    let answer = browser.sign_in(EMAIL, &password).await;
    assert_eq!(answer.url(), "https://id.example/");
    let cookie = answer.set_cookie("__Host-session").unwrap();
    for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(&format!("; {part}")), "{cookie}");
    }
    assert!(!cookie.contains("Domain"));
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
    let providers = browser.get("/api/auth/providers").await;
    assert!(
        providers.body.contains("https://id.example/api/auth/callback/credentials")
            && !providers.body.contains("127.0.0.1")
    );
    // The plain names mean nothing here.
    let token = browser.cookie("__Host-session").unwrap();
    browser.drop_cookie("__Host-session");
    browser.set_cookie("session", &token);
    assert!(!browser.is_signed_in().await);
}

/// What looks into the file, or is about it: not for the runs on other engines.
mod sqlite_file {
    use super::*;

    #[tokio::test]
    async fn a01_a02_whatever_token_comes_with_a_sign_in_it_is_dead_after_it() {
        let (server, password) = house().await;
        let bob = "bob@example.org";
        server.add_user(bob, &password);
        let made_up = Token::generate(SessionId::from_bytes([7; 16]), &OsEntropy).unwrap().expose().as_str().to_owned();

        // Planted text, a token of the right form that nobody issued, an ended one, another user's, the same user's.
        let ended = server.sign_in(EMAIL, &password).await;
        let ended_token = ended.session_token().unwrap();
        let csrf = ended.csrf().await;
        ended.post("/api/auth/signout", &[("csrfToken", &csrf)]).await;
        let expired = server.sign_in(EMAIL, &password).await.session_token().unwrap();
        let database = Connection::open(server.database()).unwrap();
        database.busy_timeout(Duration::from_secs(5)).unwrap();
        let aged = database
            .execute("UPDATE hallpass_sessions SET idle_expires_at = 1, absolute_expires_at = 1, renewed_at = 1, authenticated_at = 1", [])
            .unwrap();
        assert!(aged >= 1);
        let foreign = server.sign_in(bob, &password).await;
        let foreign_token = foreign.session_token().unwrap();
        let own_token = server.sign_in(EMAIL, &password).await.session_token().unwrap();

        for planted in ["planted", &made_up, &ended_token, &expired, &foreign_token, &own_token] {
            let browser = server.browser();
            browser.set_cookie("session", planted);
            let answer = browser.sign_in(EMAIL, &password).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let fresh = browser.session_token().unwrap();
            assert_ne!(fresh, planted);
            assert!(!opens(&server, planted).await, "{planted} lives on");
            let read = browser.get("/api/auth/session").await.json();
            assert_eq!(read["user"]["email"], EMAIL, "nothing of the other account is kept");
            assert!(opens(&server, &fresh).await);
        }
        assert!(!foreign.is_signed_in().await);
    }

    #[tokio::test]
    async fn g8_a_store_that_does_not_write_is_503_and_not_a_fake_success() {
        let (server, password) = house().await;
        let browser = server.sign_in(EMAIL, &password).await;
        let csrf = browser.csrf().await;
        let waiting = server.browser();
        let waiting_csrf = waiting.csrf().await;

        let database = Connection::open(server.database()).unwrap();
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let fields = [("csrfToken", waiting_csrf.as_str()), ("email", EMAIL), ("password", &password)];
        let out_fields = [("csrfToken", csrf.as_str())];
        let (out, sign_in) =
            tokio::join!(browser.post("/api/auth/signout", &out_fields), waiting.post(CALLBACK, &fields));
        assert_eq!((out.status, out.json()), (503, json!({"error": "Unavailable"})));
        assert_eq!(out.set_cookies(), Vec::<String>::new(), "the cookie stays, to try again");
        assert_eq!((sign_in.status, sign_in.json()), (503, json!({"error": "Unavailable"})));
        assert_eq!(sign_in.set_cookies(), Vec::<String>::new());
        database.execute_batch("ROLLBACK").unwrap();
        drop(database);

        // A write that was given up on may still have happened; then the cookie is dead, and asking again is harmless.
        let csrf = browser.csrf().await;
        assert_eq!(browser.post("/api/auth/signout", &[("csrfToken", &csrf)]).await.status, 200);
        assert!(!browser.is_signed_in().await);
        assert_eq!(waiting.sign_in(EMAIL, &password).await.url(), server.at("/"));
    }
}
