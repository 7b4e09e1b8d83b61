//! `GET /api/sessions` (issue item 2).

use hallpass_core::{Class, Policies, SignIn, UserId};
use serde_json::{Value, json};

use crate::app::{App, Options};
use crate::faulty_store::Mode;
use crate::self_service::{bounded, end, id_of, list, revoked};

#[tokio::test]
async fn list_has_exactly_these_fields_and_no_token() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    app.advance(90);
    let listed = list(&mut browser).await;
    let expected = json!([{
        "id": id_of(&browser).await,
        "expires": "2026-01-31T00:00:00.000Z",
        "isCurrent": true,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastSeenAt": "2026-01-01T00:00:00.000Z",
        "authenticatedAt": "2026-01-01T00:00:00.000Z",
        "device": {
            "name": "Firefox on Linux", "browser": "Firefox", "os": "Linux", "kind": "desktop",
            "userAgent": browser.user_agent,
        },
        "ip": "127.0.0.1",
        "label": null,
    }]);
    assert_eq!(Value::Array(listed), expected);
}

#[tokio::test]
async fn list_holds_all_of_the_users_sessions_and_marks_exactly_the_asking_one() {
    let app = App::start().await;
    let mut browsers = Vec::new();
    for _ in 0..3 {
        app.advance(1);
        browsers.push(app.signed_in("alice").await);
    }
    app.signed_in("bob").await;
    let mut ids = Vec::new();
    for browser in &browsers {
        ids.push(id_of(browser).await);
    }
    ids.reverse();
    for browser in &mut browsers {
        let listed = list(browser).await;
        let seen: Vec<&str> = listed.iter().map(|each| each["id"].as_str().unwrap()).collect();
        assert_eq!(seen, ids, "newest first");
        let current: Vec<&Value> = listed.iter().filter(|each| each["isCurrent"] == true).collect();
        assert_eq!(current.len(), 1);
        assert_eq!(current[0]["id"], id_of(browser).await.as_str(), "the asking one, not the newest");
    }
}

#[tokio::test]
async fn more_than_500_sessions_come_in_pages_each_once_and_the_current_one_first() {
    let mut policy = Policies::default().of(&Class::WEB).clone();
    policy.max_per_user = None;
    let policies = Policies::default().with(Class::WEB, policy).unwrap();
    let app = App::with(Options { policies, ..Options::default() }).await;
    let mut oldest = app.signed_in("alice").await;
    let current = id_of(&oldest).await;
    for _ in 0..1100 {
        app.clock.advance(std::time::Duration::from_millis(1));
        app.sessions.create(SignIn::new(UserId::new("alice").unwrap())).await.unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut path = String::from("/api/sessions");
    for (page, expected) in [501, 500, 100].into_iter().enumerate() {
        let answer = oldest.get(&path).await;
        let listed = answer.json().as_array().unwrap().clone();
        assert_eq!(listed.len(), expected, "page {page}");
        let marked: Vec<&Value> = listed.iter().filter(|each| each["isCurrent"] == true).collect();
        assert_eq!(marked.len(), usize::from(page == 0));
        if page == 0 {
            assert_eq!(listed[0]["id"], current.as_str());
        }
        for each in &listed {
            assert!(seen.insert(each["id"].as_str().unwrap().to_owned()), "twice");
        }
        match answer.header("link") {
            Some(link) => {
                let query = link.strip_prefix("<?after=").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
                path = format!("/api/sessions?after={query}");
            }
            None => assert_eq!(page, 2),
        }
    }
    assert_eq!(seen.len(), 1101);
    assert_eq!(oldest.get("/api/sessions?limit=2").await.json().as_array().unwrap().len(), 3);
    assert_eq!(oldest.get("/api/sessions?limit=99999&_=1").await.json().as_array().unwrap().len(), 501);
    for bad in ["limit=0", "limit=-1", "limit=x", "limit=", "limit=1&limit=2", "after=x", "after=", "limit=99999999999"]
    {
        assert_eq!(oldest.get(&format!("/api/sessions?{bad}")).await.status, 400, "{bad}");
    }
    assert_eq!(end(&mut oldest, &json!({ "all": true })).await.body, revoked(1100));
    assert_eq!(list(&mut oldest).await.len(), 1);
}

#[tokio::test]
async fn expired_sessions_are_not_listed_though_nothing_was_cleaned() {
    let app = App::start().await;
    app.signed_in("alice").await;
    app.advance(31 * 86_400);
    let mut browser = app.signed_in("alice").await;
    assert_eq!(list(&mut browser).await.len(), 1);
    assert_eq!(end(&mut browser, &json!({ "all": true })).await.body, revoked(0));
}

#[tokio::test]
async fn a_session_that_ends_while_it_lists_gets_no_list() {
    let app = App::start().await;
    let here = app.signed_in("alice").await;
    let id = id_of(&here).await;
    for path in ["/api/sessions", "/sessions"] {
        app.store.set(Mode::StallsList);
        let mut late = here.copy();
        let request = tokio::spawn(async move { late.get(path).await });
        bounded(app.store.arrived.notified()).await;
        app.store.set(Mode::Works);
        if path == "/api/sessions" {
            app.store.release.notify_one();
            assert_eq!(bounded(request).await.unwrap().status, 200, "as long as it lives, it does");
            continue;
        }
        let by = hallpass_core::Actor::operator("op");
        app.sessions.revoke(id.parse().unwrap(), None, &by, hallpass_core::EndReason::Revoked).await.unwrap();
        app.store.release.notify_one();
        let answer = bounded(request).await.unwrap();
        assert_eq!(answer.status, 401);
        assert!(answer.removes_cookie());
    }
}
