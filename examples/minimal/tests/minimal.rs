//! Starts the program and uses it as a browser would.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[path = "../../program.rs"]
mod program;

use program::Program;

fn browser() -> reqwest::Client {
    reqwest::Client::builder()
        .cookie_store(true)
        .user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

#[tokio::test]
async fn sign_in_me_session_manager_and_sign_out() {
    let program = Program::start(env!("CARGO_BIN_EXE_example-minimal"));
    let at = |path: &str| program.at(path);
    let (first, second) = (browser(), browser());

    assert_eq!(first.get(at("/me")).send().await.unwrap().status(), 401);
    for browser in [&first, &second] {
        let answer = browser
            .post(at("/sign-in"))
            .header("sec-fetch-site", "same-origin")
            .form(&[("name", "alice")])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 303);
        let me = browser.get(at("/me")).send().await.unwrap();
        assert_eq!(me.status(), 200);
        assert_eq!(me.json::<String>().await.unwrap(), "alice");
    }

    let page = first.get(at("/account/sessions")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("Firefox on Linux"));
    let listed: serde_json::Value = first.get(at("/account/api/sessions")).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);

    let answer = first
        .delete(at("/account/api/sessions"))
        .header("sec-fetch-site", "same-origin")
        .json(&serde_json::json!({ "all": true }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), serde_json::json!({ "success": true, "revoked": 1 }));
    assert_eq!(second.get(at("/me")).send().await.unwrap().status(), 401);
    assert_eq!(first.get(at("/me")).send().await.unwrap().status(), 200);

    let signed_out =
        first.post(at("/account/sessions/sign-out")).header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(signed_out.status(), 303);
    assert_eq!(first.get(at("/me")).send().await.unwrap().status(), 401);
}
