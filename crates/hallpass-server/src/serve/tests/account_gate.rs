//! A session whose account may not be used any more, before it has ended.

use super::*;

const CRON_SECRET: &str = "a-scheduler-secret-of-more-than-32-bytes";

/// What a browser sends with a page that it opens, and with a form of such a page.
const BY_PERSON: &str = "navigate";
const BY_PROGRAM: &str = "cors";

/// Each route of one's own sessions, and the one that changes one's ways in: method, path, by whom, content type and body.
const ROUTES: [(&str, &str, &str, &str, &str); 9] = [
    ("GET", "/sessions", BY_PERSON, "", ""),
    ("HEAD", "/sessions", BY_PERSON, "", ""),
    ("POST", "/sessions/revoke", BY_PERSON, "application/x-www-form-urlencoded", "id=OTHER"),
    ("POST", "/sessions/revoke-others", BY_PERSON, "application/x-www-form-urlencoded", ""),
    ("POST", "/sessions/label", BY_PERSON, "application/x-www-form-urlencoded", "id=OTHER&label=x"),
    ("POST", "/linked-accounts", BY_PERSON, "application/x-www-form-urlencoded", "action=unlink&issuer=x&subject=x"),
    ("GET", "/api/sessions", BY_PROGRAM, "", ""),
    ("DELETE", "/api/sessions", BY_PROGRAM, "application/json", r#"{"all":true}"#),
    ("PATCH", "/api/sessions/OTHER", BY_PROGRAM, "application/json", r#"{"label":"x"}"#),
];

/// Two sessions of the account: the cookie of one, the id of the other.
async fn two_sessions(house: &House) -> (String, String) {
    let cookie = |answer: Answer| {
        let line = answer.cookies.iter().find(|cookie| cookie.starts_with("session=hp_")).unwrap().clone();
        line.split(';').next().unwrap().to_owned()
    };
    let other = cookie(house.sign_in().await);
    let own = cookie(house.sign_in().await);
    let listed = house.ask("GET", "/api/sessions", BY_PROGRAM, &other, "", "").await.body;
    let id = listed.as_array().unwrap().iter().find(|session| session["isCurrent"] == true).unwrap()["id"].clone();
    assert_eq!(house.live().await, 2);
    (own, id.as_str().unwrap().to_owned())
}

impl House {
    async fn ask(&self, method: &str, path: &str, mode: &str, cookie: &str, kind: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("sec-fetch-mode", mode);
        request = request.header("sec-fetch-site", "same-origin").header("origin", "http://127.0.0.1:8080");
        if !cookie.is_empty() {
            request = request.header(COOKIE, cookie);
        }
        if !kind.is_empty() {
            request = request.header(CONTENT_TYPE, kind);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }
}

#[tokio::test]
async fn a_session_without_a_usable_account_sees_and_ends_none() {
    for meanwhile in [Meanwhile::Disabled, Meanwhile::Deleted] {
        let house = house().await;
        let (own, other) = two_sessions(&house).await;
        // Nothing carries out the pending end here.
        match meanwhile {
            Meanwhile::Disabled => drop(house.meddled.disable(&house.account.id, 1).await.unwrap()),
            _ => assert!(house.meddled.delete(&house.account.id, 1).await.unwrap()),
        }
        for (method, path, mode, kind, body) in ROUTES {
            let what = format!("{meanwhile:?}: {method} {path}");
            let (path, body) = (path.replace("OTHER", &other), body.replace("OTHER", &other));
            let nobody = house.ask(method, &path, mode, "", kind, &body).await;
            let answer = house.ask(method, &path, mode, &own, kind, &body).await;
            let expected = if mode == BY_PERSON { StatusCode::SEE_OTHER } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.status, expected, "{what}");
            assert_eq!(answer.cookies, Vec::<String>::new(), "{what}");
            assert_eq!((answer.location, answer.body), (nobody.location, nobody.body), "{what}");
        }
        assert_eq!(house.live().await, 2, "{meanwhile:?}");

        let signed_out = house.ask("POST", "/sessions/sign-out", BY_PERSON, &own, "", "").await;
        assert_eq!(signed_out.location.as_deref(), Some("/signin"), "{meanwhile:?}");
        assert!(signed_out.cookies.iter().any(|cookie| cookie.starts_with("session=;")), "{meanwhile:?}");
        assert_eq!(house.live().await, 1, "{meanwhile:?}: one's own session, and no other");
    }
}

#[tokio::test]
async fn g8_accounts_that_cannot_be_asked_are_neither_nobody_nor_let_through() {
    let house = house_with(&[("HALLPASS_CRON_SECRET", CRON_SECRET)]).await;
    let (own, other) = two_sessions(&house).await;
    house.meddled.gone.store(true, Ordering::SeqCst);
    for (method, path, mode, kind, body) in ROUTES {
        let (path, body) = (path.replace("OTHER", &other), body.replace("OTHER", &other));
        let answer = house.ask(method, &path, mode, &own, kind, &body).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{method} {path}");
        assert_eq!(answer.cookies, Vec::<String>::new(), "{method} {path}");
        let nobody = house.ask(method, &path, mode, "", kind, &body).await;
        assert_ne!(
            nobody.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{method} {path}: without a session there is nothing to ask"
        );
    }
    assert_eq!(house.live().await, 2);

    // What needs no account goes on.
    let asset = house.ask("GET", "/assets/sessions.js", BY_PROGRAM, &own, "", "").await;
    assert_eq!(asset.status, StatusCode::OK);
    let clean_up = Request::post("/api/cron/cleanup-sessions")
        .header("authorization", format!("Bearer {CRON_SECRET}"))
        .header(COOKIE, &own)
        .header("sec-fetch-site", "same-origin")
        .body(Body::empty())
        .unwrap();
    assert_eq!(house.send(clean_up).await.status, StatusCode::OK);
    let signed_out = house.ask("POST", "/sessions/sign-out", BY_PERSON, &own, "", "").await;
    assert_eq!(signed_out.status, StatusCode::SEE_OTHER);
    assert_eq!(house.live().await, 1);
}

#[tokio::test]
async fn whoever_has_no_session_is_sent_to_the_sign_in_page_that_the_settings_name() {
    let house = house_with(&[("HALLPASS_SIGN_IN_PATH", "/api/auth/signin")]).await;
    let come_back = "/api/auth/signin?callbackUrl=";
    for (path, location) in [
        ("/", "/api/auth/signin".to_owned()),
        ("/sessions", format!("{come_back}%2Fsessions")),
        ("/linked-accounts", format!("{come_back}%2Flinked%2Daccounts")),
    ] {
        let answer = house.ask("GET", path, BY_PERSON, "", "", "").await;
        assert_eq!((answer.status, answer.location), (StatusCode::SEE_OTHER, Some(location)), "{path}");
    }
    let (own, _) = two_sessions(&house).await;
    let signed_out = house.ask("POST", "/sessions/sign-out", BY_PERSON, &own, "", "").await;
    assert_eq!(signed_out.location.as_deref(), Some("/api/auth/signin"));
    house.meddled.disable(&house.account.id, 1).await.unwrap();
    let other = house.ask("GET", "/", BY_PERSON, &own, "", "").await;
    assert_eq!(other.location.as_deref(), Some("/api/auth/signin"));
}
