//! What was acknowledged holds after `kill -9` (G7).

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use support::{Place, record};

const ROUNDS: u64 = 50;
const EMAIL: &str = "alice@example.org";
const PASSWORD: &str = "correct horse battery staple";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The sign-in was answered.
    Created,
    /// A revocation was sent and not answered: either is right.
    Unknown,
    /// The revocation was answered.
    Revoked,
}

type Ledger = Arc<Mutex<Vec<(String, Known)>>>;

fn client() -> Client {
    Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

fn cookie(response: &Response, name: &str) -> Option<String> {
    response.headers().get_all(SET_COOKIE).iter().find_map(|value| {
        let pair = value.to_str().ok()?.split(';').next()?;
        Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned())
    })
}

/// Signs in; `None` when the server went away before it answered.
async fn sign_in(client: &Client, origin: &str) -> Option<String> {
    let csrf = client.get(format!("{origin}/api/auth/csrf")).send().await.ok()?;
    let csrf_cookie = cookie(&csrf, "authjs.csrf-token").unwrap();
    let body: Value = csrf.json().await.ok()?;
    let answer = client
        .post(format!("{origin}/api/auth/callback/credentials"))
        .header("sec-fetch-site", "same-origin")
        .header("x-auth-return-redirect", "1")
        .header(COOKIE, format!("authjs.csrf-token={csrf_cookie}"))
        .form(&[("csrfToken", body["csrfToken"].as_str().unwrap()), ("email", EMAIL), ("password", PASSWORD)])
        .send()
        .await
        .ok()?;
    assert_eq!(answer.status(), 200);
    let token = cookie(&answer, "session").unwrap();
    record(&token);
    Some(token)
}

/// Ends the session by its own token; whether that was acknowledged.
async fn revoke(client: &Client, origin: &str, token: &str) -> Option<()> {
    let answer = client
        .delete(format!("{origin}/api/sessions"))
        .header("sec-fetch-site", "same-origin")
        .header(COOKIE, format!("session={token}"))
        .json(&json!({ "sessionToken": token }))
        .send()
        .await
        .ok()?;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.ok()?, json!({ "success": true, "revoked": 1 }));
    Some(())
}

async fn load(origin: String, ledger: Ledger) {
    let client = client();
    for number in 0_u32.. {
        let Some(token) = sign_in(&client, &origin).await else { return };
        let place = {
            let mut ledger = ledger.lock().unwrap();
            ledger.push((token.clone(), Known::Created));
            ledger.len() - 1
        };
        if number % 2 == 1 {
            ledger.lock().unwrap()[place].1 = Known::Unknown;
            if revoke(&client, &origin, &token).await.is_none() {
                return;
            }
            ledger.lock().unwrap()[place].1 = Known::Revoked;
        }
    }
}

async fn check(client: &Client, origin: &str, ledger: &[(String, Known)], when: &str) {
    for (token, known) in ledger {
        let answer = client
            .get(format!("{origin}/api/sessions"))
            .header(COOKIE, format!("session={token}"))
            .send()
            .await
            .unwrap();
        match known {
            Known::Created => assert_eq!(answer.status(), 200, "an acknowledged session is lost, {when}"),
            Known::Revoked => assert_eq!(answer.status(), 401, "an acknowledged revocation is lost, {when}"),
            Known::Unknown => assert!([200, 401].contains(&answer.status().as_u16()), "{when}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_kill_9_after_an_acknowledged_create_or_revoke_loses_neither() {
    let mut place = Place::new();
    place.add_user(EMAIL, PASSWORD);
    let ledger = Ledger::default();
    let client = client();
    // A fixed sequence (xorshift), so that a failure can be repeated as far as timing allows.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut checked = 0;
    for round in 0..ROUNDS {
        let server = place
            .serve_with(|command| {
                command.env("HALLPASS_POLICY_WEB_MAX_PER_USER", "none");
            })
            .await;
        let so_far = ledger.lock().unwrap().clone();
        check(&client, &server.origin, &so_far[checked..], &format!("after kill {round}")).await;
        checked = so_far.len();

        let tasks: Vec<_> = (0..2).map(|_| tokio::spawn(load(server.origin.clone(), Arc::clone(&ledger)))).collect();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // At the earliest with the first answer of this round, then anywhere within some tens of milliseconds.
        while ledger.lock().unwrap().len() == checked {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_micros(random % 60_000)).await;
        place = server.kill();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let server = place.serve().await;
    let all = ledger.lock().unwrap().clone();
    check(&client, &server.origin, &all, "at the end").await;
    let count = |wanted| all.iter().filter(|(_, known)| *known == wanted).count();
    let (created, revoked) = (count(Known::Created), count(Known::Revoked));
    println!("{created} created, {revoked} revoked, {} unknown", count(Known::Unknown));
    assert!(created >= 50 && revoked >= 20, "too little was acknowledged: {created} created, {revoked} revoked");
}
