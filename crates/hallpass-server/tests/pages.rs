//! The server's pages, as a browser without scripts gets them from the real program.

#![expect(clippy::panic, reason = "a failed helper fails its test")]

mod support;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;
use support::{Answer, Browser, Place, Server, new_password, record, with_query};

const EMAIL: &str = "alice@example.org";

async fn house() -> (Server, String) {
    let server = Server::start().await;
    let password = new_password();
    server.add_user(EMAIL, &password);
    (server, password)
}

fn is_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let policy = answer.header("content-security-policy");
    for part in
        ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'", "script-src 'self'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
}

#[tokio::test]
async fn the_way_through_the_sign_in_page() {
    let (server, password) = house().await;
    let browser = server.browser();
    let answer = browser.visit("/").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/signin"));
    let answer = browser.visit("/sessions").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/signin?callbackUrl=%2Fsessions"));

    let page = browser.visit("/signin?callbackUrl=%2Fsessions").await;
    assert_eq!(page.status, 200);
    is_page(&page);
    assert!(page.body.contains("action=\"/api/auth/callback/credentials\"") && !page.body.contains("role=\"alert\""));
    let hidden = [page.hidden("csrfToken"), page.hidden("callbackUrl")];
    assert_eq!(hidden[1], server.at("/sessions"));

    // Wrong at first: back to the page, which says so and still knows where to go.
    let fields = |password| {
        [("csrfToken", hidden[0].as_str()), ("callbackUrl", &hidden[1]), ("email", EMAIL), ("password", password)]
    };
    let answer = browser.submit("/api/auth/callback/credentials", &fields("not the password")).await;
    assert_eq!(answer.status, 302);
    let back = answer.header("location").strip_prefix(&server.origin).unwrap().to_owned();
    assert!(back.starts_with("/signin?error=CredentialsSignin&code=credentials&callbackUrl="), "{back}");
    let page = browser.visit(&back).await;
    is_page(&page);
    assert!(page.body.contains("role=\"alert\">The email address or the password is wrong.</p>"), "{}", page.body);
    assert_eq!(page.hidden("csrfToken"), hidden[0], "the browser's token is kept");
    assert_eq!(page.hidden("callbackUrl"), hidden[1]);

    let answer = browser.submit("/api/auth/callback/credentials", &fields(&password)).await;
    assert_eq!((answer.status, answer.header("location")), (302, server.at("/sessions").as_str()));
    let page = browser.visit("/sessions").await;
    is_page(&page);
    assert!(page.body.contains("Name of alice@example.org"), "the page of the library knows the user's name");
    assert!(page.body.contains("Firefox on Linux"));

    let home = browser.visit("/").await;
    assert_eq!(home.status, 200);
    is_page(&home);
    for part in
        ["Name of alice@example.org", EMAIL, "Firefox on Linux", "href=\"/sessions\"", "action=\"/sessions/sign-out\""]
    {
        assert!(home.body.contains(part), "{part}: {}", home.body);
    }
    assert!(!home.body.contains("hallpass user add"), "no operator");
    for answer in [&home, &page] {
        assert!(!answer.body.contains("hp_"), "no token on a page");
    }

    let answer = browser.submit("/sessions/sign-out", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/signin"));
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn whoever_is_signed_in_goes_on_unless_asked_to_authenticate_again() {
    let (server, password) = house().await;
    let browser = server.sign_in(EMAIL, &password).await;
    let answer = browser.visit("/signin?callbackUrl=%2Fsessions").await;
    assert_eq!((answer.status, answer.header("location")), (303, server.at("/sessions").as_str()));
    let answer = browser.visit("/signin").await;
    assert_eq!((answer.status, answer.header("location")), (303, server.origin.as_str()));
    let page = browser.visit("/signin?callbackUrl=%2Fsessions&prompt=login").await;
    assert_eq!((page.status, page.hidden("callbackUrl")), (200, server.at("/sessions")));

    // The form of a signed-in browser works, and the session goes on under its id.
    let id = |answer: &Answer| answer.json()[0]["id"].as_str().unwrap().to_owned();
    let before = (id(&browser.get("/api/sessions").await), browser.session_token());
    let csrf = page.hidden("csrfToken");
    let fields = [("csrfToken", csrf.as_str()), ("email", EMAIL), ("password", &password)];
    assert_eq!(browser.submit("/api/auth/callback/credentials", &fields).await.status, 302);
    assert_eq!(id(&browser.get("/api/sessions").await), before.0);
    assert_ne!(browser.session_token(), before.1);
}

#[tokio::test]
async fn nothing_of_an_address_is_shown_but_known_codes() {
    let (server, _) = house().await;
    let browser = server.browser();
    for (code, text) in [
        ("CredentialsSignin", "wrong"),
        ("MissingCSRF", "try again"),
        ("RateLimited", "Too many failed attempts"),
        ("Overloaded", "Too many people"),
        ("SessionLimit", "as many devices"),
        ("AccessDenied", "no access"),
        ("Configuration", "set up wrong"),
        ("<script>alert(1)</script>", "did not work"),
        ("Your account is locked, call 555-0100", "did not work"),
    ] {
        let page = browser.visit(&with_query("/signin", &[("error", code)])).await;
        assert!(page.status == 200 && page.body.contains("role=\"alert\"") && page.body.contains(text), "{code}");
        // The whole number: the hexadecimal token against forged requests may have any three digits in it.
        assert!(!page.body.contains("alert(1)") && !page.body.contains("555-0100"), "{}", page.body);
    }
    let page = browser.visit("/signin?error=SessionRequired").await;
    assert!(page.body.contains("role=\"status\"") && !page.body.contains("role=\"alert\""));
    let page = browser.visit(&with_query("/signin", &[("callbackUrl", "/\"><script>alert(1)</script>")])).await;
    assert!(!page.body.contains("<script>alert"), "{}", page.body);
}

#[tokio::test]
async fn a50_the_sign_in_page_takes_a_dead_cookie_away() {
    let (server, password) = house().await;
    let browser = server.sign_in(EMAIL, &password).await;
    browser.set_cookie("other", "stays");
    server.place.done(&["sessions", "revoke", "--user", EMAIL]);
    let page = browser.visit("/signin").await;
    assert_eq!(page.status, 200);
    assert!(page.set_cookie("session").unwrap().contains("Max-Age=0"));
    assert!(page.set_cookie("other").is_none() && browser.session_token().is_none());
}

#[tokio::test]
async fn an_operator_sees_the_commands() {
    let server = Server::start().await;
    let password = new_password();
    server.place.add_user_with(EMAIL, &password, &["--operator"]);
    let home = server.sign_in(EMAIL, &password).await.visit("/").await;
    assert!(home.body.contains("hallpass user add EMAIL"), "{}", home.body);
}

async fn fresh() -> (Server, String) {
    let mut server = Server::start().await;
    let link = server.setup_link();
    let path = link.strip_prefix(&server.origin).unwrap_or_else(|| panic!("{link}")).to_owned();
    (server, path)
}

#[tokio::test]
async fn the_first_account() {
    let (server, path) = fresh().await;
    let browser = server.browser();
    let page = browser.visit(&path).await;
    assert_eq!(page.status, 200);
    is_page(&page);
    assert!(
        ["same-origin", "no-referrer"].contains(&page.header("referrer-policy")),
        "the code goes to no other origin"
    );
    assert!(page.body.contains("action=\"/setup\"") && !page.body.contains("role=\"alert\""));
    let code = page.hidden("code");
    assert_eq!(path, format!("/setup?code={code}"));
    assert!(code.len() == 43, "256 bits");

    // What cannot be is refused with what was typed kept, as text, but for the password.
    let nasty = "\"><script>alert(1)</script>";
    for (name, email, password, says) in [
        ("", EMAIL, "long enough a password", "The name is empty."),
        (nasty, "no-address", "long enough a password", "An email address has one @"),
        ("Grace", EMAIL, "brief17", "The password is too short"),
    ] {
        let fields = [("code", code.as_str()), ("name", name), ("email", email), ("password", password)];
        let page = browser.submit("/setup", &fields).await;
        assert_eq!(page.status, 422);
        is_page(&page);
        assert!(page.body.contains("role=\"alert\"") && page.body.contains(says), "{says}: {}", page.body);
        assert!(!page.body.contains("<script>alert") && !page.body.contains(password));
        assert_eq!(page.hidden("code"), code);
    }
    let password = new_password();
    let fields =
        [("code", code.as_str()), ("name", "Grace Hopper"), ("email", "Grace@Example.org"), ("password", &password)];
    let answer = browser.submit("/setup", &fields).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    let home = browser.visit("/").await;
    assert!(
        home.body.contains("Grace Hopper") && home.body.contains("You are an operator"),
        "signed in: {}",
        home.body
    );
    server.sign_in("grace@example.org", &password).await;

    // Gone, in the same words as for a code that never was.
    let never = "A".repeat(43);
    for path in [&path, "/setup", "/setup?code=", &format!("/setup?code={never}")] {
        let page = server.browser().visit(path).await;
        assert_eq!(page.status, 410, "{path}");
        is_page(&page);
        assert!(page.body.contains("This link does not work any more."));
    }
    let again = server.browser().submit("/setup", &fields).await;
    assert_eq!(again.status, 410);
    let users = server.place.done(&["user", "list", "--json"]);
    assert_eq!(users.matches("\"email\"").count(), 1);
    assert!(!server.log().contains(&code), "the code is not in the log");
    let place = server.stop().await;
    for file in std::fs::read_dir(place.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(code.len()).any(|window| window == code.as_bytes()), "the code is not in the database");
    }
    // No second link.
    let server = place.serve().await;
    assert_eq!(server.browser().visit(&path).await.status, 410);
}

#[tokio::test]
async fn a42_the_link_is_used_once_by_twenty_at_once() {
    let (server, path) = fresh().await;
    let code = path.strip_prefix("/setup?code=").unwrap().to_owned();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (browser, code, password) = (server.browser(), code.clone(), new_password());
            tokio::spawn(async move {
                let email = format!("user{n}@example.org");
                let fields = [("code", code.as_str()), ("name", "N"), ("email", &email), ("password", &password)];
                (browser.submit("/setup", &fields).await.status, browser.session_token().is_some())
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            (303, true) => won += 1,
            (410, false) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(server.place.done(&["user", "list", "--json"]).matches("\"email\"").count(), 1);
}

#[tokio::test]
async fn the_setup_form_is_refused_from_elsewhere_and_in_other_forms() {
    let (server, path) = fresh().await;
    let code = path.strip_prefix("/setup?code=").unwrap();
    let browser = server.browser();
    let fields = [("code", code), ("name", "N"), ("email", EMAIL), ("password", "long enough a password")];
    let request = browser.request(Method::POST, "/setup").header("sec-fetch-site", "cross-site").form(&fields);
    assert_eq!(Browser::send(request).await.status, 403);
    let request = browser.request(Method::POST, "/setup").json(&json!({"code": code}));
    assert_eq!(Browser::send(request).await.status, 415);
    let request =
        browser.request(Method::POST, &path).header("content-type", "application/x-www-form-urlencoded").body("name=N");
    assert_eq!(Browser::send(request).await.status, 410, "the code counts in the form alone");
    assert_eq!(browser.visit(&path).await.status, 200, "and it is not used up");
}

#[tokio::test]
async fn errors_are_pages_for_people_and_json_for_programs() {
    let (server, _) = house().await;
    let browser = server.browser();
    let large = "x".repeat(20_000);
    let post = |path: &str, kind: &'static str, body: &str| {
        browser.request(Method::POST, path).header("content-type", kind).body(body.to_owned())
    };
    let form = "application/x-www-form-urlencoded";
    for (status, request, error) in [
        (404, browser.request(Method::GET, "/there/is/no/such/page"), "Not Found"),
        (404, browser.request(Method::GET, "/assets/nothing.js"), "Not Found"),
        (405, post("/signin", form, "a=b"), "Method Not Allowed"),
        (405, post("/", form, "a=b"), "Method Not Allowed"),
        (405, browser.request(Method::DELETE, "/setup"), "Method Not Allowed"),
        (410, browser.request(Method::GET, "/setup?code=x"), "Gone"),
        (413, post("/setup", form, &large), "Payload Too Large"),
        (415, post("/setup", "text/plain", "a=b"), "Unsupported Media Type"),
    ] {
        let program = Browser::send(request.try_clone().unwrap()).await;
        assert_eq!((program.status, program.json()), (status, json!({"error": error})));
        let person = Browser::send(request.header("accept", "text/html").header("sec-fetch-mode", "navigate")).await;
        assert_eq!(person.status, status);
        is_page(&person);
        assert!(person.body.contains(&format!("<p class=\"status\">{status}</p>")), "{}", person.body);
    }
    let answer = Browser::send(post("/signin", form, "")).await;
    assert_eq!(answer.header("allow"), "GET,HEAD");
    // API routes answer programs, whatever a browser says it accepts.
    for path in ["/api/nothing", "/api/cron/cleanup-sessions"] {
        let answer = browser.visit(path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({"error": "Not Found"})), "{path}");
    }
    // A path is never echoed.
    let answer = browser.visit("/%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(answer.status == 404 && !answer.body.contains("alert(1)"));
}

#[tokio::test]
async fn every_answer_has_its_security_headers() {
    let (server, password) = house().await;
    let out = server.browser();
    let signed_in = server.sign_in(EMAIL, &password).await;
    let mut seen = 0;
    for browser in [&out, &signed_in] {
        for path in [
            "/",
            "/signin",
            "/setup",
            "/sessions",
            "/healthz",
            "/nope",
            "/assets/hallpass.css",
            "/assets/hallpass.svg",
            "/assets/sessions.js",
            "/assets/times.js",
            "/assets/password.js",
            "/api/sessions",
            "/api/auth/csrf",
            "/api/auth/session",
            "/api/auth/providers",
            "/api/auth/signin",
            "/api/auth/signout",
            "/api/auth/error",
            "/api/auth/nonsense",
        ] {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS] {
                for accept in ["text/html", "application/json"] {
                    let answer = Browser::send(browser.request(method.clone(), path).header("accept", accept)).await;
                    let place = format!("{method} {path} {accept}: {answer:?}");
                    assert_ne!(answer.status, 500, "{place}");
                    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{place}");
                    assert_eq!(answer.header("referrer-policy"), "same-origin", "{place}");
                    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{place}");
                    let policy = answer.header("content-security-policy");
                    assert!(
                        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                        "{place}"
                    );
                    assert_eq!(answer.header("access-control-allow-origin"), "", "{place}");
                    assert_eq!(answer.header("server"), "", "{place}");
                    assert_eq!(answer.header("strict-transport-security"), "", "http has none: {place}");
                    if answer.header("content-type").starts_with("text/html") {
                        assert_eq!(answer.header("cache-control"), "no-store", "{place}");
                    }
                    for cookie in answer.set_cookies() {
                        assert!(
                            cookie.contains("; HttpOnly")
                                && cookie.contains("; SameSite=Lax")
                                && cookie.contains("; Path=/"),
                            "{place}"
                        );
                        assert_ne!(answer.header("cache-control"), "", "{place}");
                    }
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 2 * 19 * 5 * 2);
    assert!(signed_in.is_signed_in().await, "and nothing of this ended a session");
}

#[tokio::test]
async fn assets_have_types_and_validators() {
    let (server, _) = house().await;
    let browser = server.browser();
    for (path, kind) in [
        ("/assets/hallpass.css", "text/css; charset=utf-8"),
        ("/assets/hallpass.svg", "image/svg+xml"),
        ("/assets/password.js", "text/javascript; charset=utf-8"),
        ("/assets/times.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert!(answer.body.len() > 100);
        assert_eq!((answer.header("vary"), answer.set_cookies().len()), ("", 0), "{path} depends on nobody");
        let tag = answer.header("etag").to_owned();
        let again = Browser::send(browser.request(Method::GET, path).header("if-none-match", &tag)).await;
        assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", tag.as_str()));
        let stale = Browser::send(browser.request(Method::GET, path).header("if-none-match", "\"0\"")).await;
        assert_eq!(stale.status, 200);
    }
}

#[tokio::test]
async fn text_from_outside_is_only_ever_text() {
    let server = Server::start().await;
    let password = new_password();
    let nasty = "<img src=x onerror=alert(1)>\"'&";
    record(&password);
    let args = ["user", "add", EMAIL, "--name", nasty, "--password-stdin"];
    assert!(server.place.run_with_input(&args, &format!("{password}\n")).status.success());
    let browser = server.browser();
    let csrf = browser.csrf().await;
    let fields = [("csrfToken", csrf.as_str()), ("email", EMAIL), ("password", &password)];
    let request =
        browser.request(Method::POST, "/api/auth/callback/credentials").header("user-agent", nasty).form(&fields);
    assert_eq!(Browser::send(request).await.status, 302);
    for path in ["/", "/sessions"] {
        let page = browser.visit(path).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("onerror") && !page.body.contains("<img src=x"), "{path}: {}", page.body);
    }
    assert_eq!(browser.get("/api/auth/session").await.json()["user"]["name"], nasty);
}

#[tokio::test]
async fn a31_the_cleanup_endpoint_exists_with_its_secret_alone() {
    let secret = "a-secret-of-the-scheduler-0123456789";
    let server = Server::start_with(&[("CRON_SECRET", secret)]).await;
    let browser = server.browser();
    let ask = |authorization: Option<String>| {
        let request = browser.request(Method::POST, "/api/cron/cleanup-sessions");
        match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    };
    let answer = Browser::send(ask(Some(format!("Bearer {secret}")))).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"cleaned": 0})));
    for wrong in [None, Some("Bearer "), Some("Bearer undefined"), Some("Bearer null"), Some(secret)] {
        assert_eq!(Browser::send(ask(wrong.map(ToOwned::to_owned))).await.status, 401, "{wrong:?}");
    }
    let without = Place::new().serve().await;
    let request = without
        .browser()
        .request(Method::POST, "/api/cron/cleanup-sessions")
        .header("authorization", "Bearer undefined");
    assert_eq!(Browser::send(request).await.status, 404);
}

/// What looks into the file, or is about it: not for the runs on other engines.
mod sqlite_file {
    use super::*;

    #[tokio::test]
    async fn an_expired_link_an_earlier_link_and_a_link_beside_an_account_do_not_work() {
        let (server, first) = fresh().await;
        let mut server = server.stop().await.serve().await;
        let link = server.setup_link();
        let second = link.strip_prefix(&server.origin).unwrap().to_owned();
        assert_ne!(first, second);
        let browser = server.browser();
        assert_eq!(browser.visit(&first).await.status, 410, "a new start makes a new one");
        assert_eq!(browser.visit(&second).await.status, 200);

        let database = Connection::open(server.database()).unwrap();
        let expires: i64 = database.query_row("SELECT expires_at FROM account_setup", [], |row| row.get(0)).unwrap();
        let hours = (expires - support::now_ms()) as f64 / 3_600_000.0;
        assert!((23.9..=24.0).contains(&hours), "{hours}");
        database.execute("UPDATE account_setup SET expires_at = ?1", [support::now_ms() - 1]).unwrap();
        assert_eq!(browser.visit(&second).await.status, 410);
        let code = second.strip_prefix("/setup?code=").unwrap();
        let fields = [("code", code), ("name", "N"), ("email", EMAIL), ("password", "long enough a password")];
        assert_eq!(browser.submit("/setup", &fields).await.status, 410);
        database.execute("UPDATE account_setup SET expires_at = ?1", [expires]).unwrap();
        assert_eq!(browser.visit(&second).await.status, 200);

        server.add_user(EMAIL, &new_password());
        assert_eq!(browser.visit(&second).await.status, 410);
        assert_eq!(browser.submit("/setup", &fields).await.status, 410);
    }
}
