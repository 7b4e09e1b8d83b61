//! Requests at the same time (A06, A49).

use hallpass_core::{Actor, EndReason};

use crate::app::App;
use crate::self_service::bounded;

#[tokio::test]
async fn a06_a_request_that_outlives_its_session_writes_nothing_and_revives_nothing() {
    let app = App::start().await;
    let browser = app.signed_in("alice").await;
    let id = browser.copy().me().await.json()["id"].as_str().unwrap().to_owned();
    let mut slow = browser.copy();
    let request = tokio::spawn(async move { slow.get("/slow").await });
    bounded(app.gate.entered.notified()).await;
    let ended =
        app.sessions.revoke(id.parse().unwrap(), None, &Actor::operator("op"), EndReason::Revoked).await.unwrap();
    assert_eq!(ended, 1);
    app.gate.release.notify_one();
    let answer = bounded(request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str(), answer.cookie), (200, "gone", None));
    assert_eq!(browser.copy().me().await.status, 401);
    let session = app.sessions.show(id.parse().unwrap()).await.unwrap().unwrap();
    assert!(!session.is_live_at(app.sessions.now()) && session.attributes.is_empty());
}

#[tokio::test]
async fn a06_the_same_request_writes_while_its_session_lives() {
    let app = App::start().await;
    let mut slow = app.signed_in("alice").await;
    let mut other = slow.copy();
    let request = tokio::spawn(async move { slow.get("/slow").await });
    bounded(app.gate.entered.notified()).await;
    assert_eq!(other.me().await.status, 200);
    app.gate.release.notify_one();
    assert_eq!(bounded(request).await.unwrap().body, "updated");
}

#[tokio::test]
async fn a06_signing_out_in_one_tab_while_another_waits() {
    let app = App::start().await;
    let browser = app.signed_in("alice").await;
    let mut slow = browser.copy();
    let request = tokio::spawn(async move { slow.get("/slow").await });
    bounded(app.gate.entered.notified()).await;
    assert_eq!(browser.copy().post("/sign-out", "").await.body, "true");
    app.gate.release.notify_one();
    let answer = bounded(request).await.unwrap();
    assert_eq!((answer.body.as_str(), answer.cookie), ("gone", None), "the late answer sets no cookie");
    assert_eq!(browser.copy().me().await.status, 401);
}

/// An extension is decided when a request begins and sent when it ends. What another request of the browser got in between is newer.
#[tokio::test]
async fn a_late_extension_does_not_put_an_old_token_in_place_of_a_newer_one() {
    for (path, is_newest) in [("/rotate", false), ("/sign-out", false), ("/me", true)] {
        let app = App::start().await;
        let mut browser = app.browser();
        browser.post("/remember/bob", "").await;
        app.advance(86_400);
        let mut slow = browser.copy();
        let request = tokio::spawn(async move { slow.get("/slow").await });
        bounded(app.gate.entered.notified()).await;
        assert_eq!(browser.post(path, "").await.status, 200);
        app.gate.release.notify_one();
        let answer = bounded(request).await.unwrap();
        let sent = answer.cookie.map(|cookie| cookie.value);
        assert_eq!(sent.as_deref(), is_newest.then(|| browser.token()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a49_two_hundred_users_over_shared_connections_see_only_themselves() {
    let app = App::start().await;
    let pool = app.browser();
    let users = (0..200).map(|n| {
        let mut browser = pool.another();
        tokio::spawn(async move {
            let user = format!("user-{n}");
            let id = browser.post(&format!("/sign-in/{user}"), "").await.json()["id"].clone();
            for _ in 0..10 {
                let me = browser.me().await.json();
                assert_eq!((me["user"].as_str(), &me["id"]), (Some(user.as_str()), &id));
                let list = browser.get("/api/sessions").await.json();
                assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &id));
                assert_eq!(browser.another().get("/maybe").await.body, "nobody");
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        bounded(user).await.unwrap();
    }
}
