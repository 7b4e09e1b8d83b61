//! Signing out while nobody can say where the session came from.

use std::time::Duration;

use hallpass_core::{SignIn, UserId};
use tokio::time::Instant;

use super::*;

const CORP: [(&str, &str); 3] = [
    ("HALLPASS_PROVIDERS_CORP_ISSUER", "http://127.0.0.1:1"),
    ("HALLPASS_PROVIDERS_CORP_CLIENT_ID", "hallpass"),
    ("HALLPASS_PROVIDERS_CORP_LOGOUT_AT_PROVIDER", "true"),
];

impl House {
    /// Signs out of a session that `source` began, while `meanwhile` holds. Where the answer leads.
    async fn sign_out(&self, source: &str, meanwhile: Meanwhile) -> String {
        let user = UserId::new(self.account.id.as_str()).unwrap();
        let issued = self.engine.sessions.create(SignIn::new(user).source(source)).await.unwrap();
        let session = format!("session={}", issued.token.expose().as_str());
        let csrf =
            self.send(Request::get("/api/auth/csrf").header(COOKIE, &session).body(Body::empty()).unwrap()).await;
        let cookie = csrf.cookies[0].split(';').next().unwrap();
        let form = format!("csrfToken={}&callbackUrl=%2Fx", csrf.body["csrfToken"].as_str().unwrap());
        let request = Request::post("/api/auth/signout")
            .header(COOKIE, format!("{session}; {cookie}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .header("x-auth-return-redirect", "1")
            .body(Body::from(form))
            .unwrap();
        *self.meddled.meanwhile.lock().unwrap() = meanwhile;
        let answer = self.send(request).await;
        *self.meddled.meanwhile.lock().unwrap() = Meanwhile::Nothing;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.cookies.iter().any(|cookie| cookie.starts_with("session=;")), "{:?}", answer.cookies);
        answer.body["url"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_session_ends_and_its_user_learns_that_the_provider_was_not_asked() {
    let house = house_with(&CORP).await;
    for meanwhile in [Meanwhile::Gone, Meanwhile::Hanging] {
        let begun = Instant::now();
        let address = house.sign_out("corp", meanwhile).await;
        assert!(address.starts_with("http://127.0.0.1:8080/api/auth/signed-out?state="), "{meanwhile:?}: {address}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{meanwhile:?}: {:?}", begun.elapsed());
        assert_eq!(house.live().await, 0, "{meanwhile:?}");
    }
}

#[tokio::test]
async fn one_that_no_provider_began_is_over_with_that() {
    let house = house_with(&CORP).await;
    for (source, meanwhile) in [
        ("credentials", Meanwhile::Gone),
        ("somebody", Meanwhile::Gone),
        // The accounts say so themselves.
        ("corp", Meanwhile::Nothing),
    ] {
        assert_eq!(house.sign_out(source, meanwhile).await, "http://127.0.0.1:8080/x", "{source} {meanwhile:?}");
        assert_eq!(house.live().await, 0, "{source} {meanwhile:?}");
    }
}
