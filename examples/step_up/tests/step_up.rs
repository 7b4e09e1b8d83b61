//! Starts the program and watches a session grow stale and fresh again.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[path = "../../program.rs"]
mod program;

use std::time::Duration;

use program::Program;

#[tokio::test]
async fn a11_a_stale_session_may_look_but_must_confirm_before_it_acts() {
    let program = Program::start(env!("CARGO_BIN_EXE_example-step-up"));
    let at = |path: &str| program.at(path);
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let post = async |path: &str, name: Option<&str>| {
        let request = browser.post(at(path)).header("sec-fetch-site", "same-origin");
        let request = match name {
            Some(name) => request.form(&[("name", name)]),
            None => request,
        };
        request.send().await.unwrap()
    };

    assert_eq!(post("/transfer", None).await.status(), 401);
    assert_eq!(post("/sign-in", Some("alice")).await.status(), 200);
    assert_eq!(post("/transfer", None).await.status(), 200, "just signed in");

    // The program keeps a session fresh for two seconds of its own clock: ask until it says stale.
    let stale = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let answer = post("/transfer", None).await;
            if answer.status() == 401 {
                return answer;
            }
        }
    })
    .await
    .expect("the session never grew stale");
    assert!(stale.headers().contains_key("www-authenticate"));
    assert_eq!(stale.json::<serde_json::Value>().await.unwrap()["error"], "reauth_required");

    assert_eq!(browser.get(at("/balance")).send().await.unwrap().status(), 200, "looking needs no freshness");
    assert_eq!(post("/confirm", None).await.status(), 200);
    assert_eq!(post("/transfer", None).await.status(), 200, "confirmed");
}
