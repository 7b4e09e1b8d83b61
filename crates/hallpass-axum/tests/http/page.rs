//! The session manager page, as a browser without scripts uses it (A34, A39, A54).

use hallpass_core::{Class, Policies, SignIn, UserId};

use crate::app::{App, Options};
use crate::browser::{Answer, Browser};

async fn id_of(browser: &Browser) -> String {
    browser.copy().me().await.json()["id"].as_str().unwrap().to_owned()
}

/// Follows the redirect of a form, as a browser resolves it.
async fn follow(browser: &mut Browser, from: &str, answer: &Answer) -> Answer {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let base = url::Url::parse(&format!("http://x{from}")).unwrap();
    let to = base.join(answer.header("location").unwrap()).unwrap();
    assert_eq!(to.host_str(), Some("x"), "never to another host");
    let path = match to.query() {
        Some(query) => format!("{}?{query}", to.path()),
        None => to.path().to_owned(),
    };
    browser.navigate(&path).await
}

#[tokio::test]
async fn the_page_lists_the_sessions_with_the_current_one_first() {
    let app = App::start().await;
    let mut here = app.signed_in("alice").await;
    app.advance(60);
    let mut there = app.browser();
    there.user_agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1".into();
    there.post("/sign-in/alice", "").await;
    app.signed_in("bob").await;
    for path in ["/sessions", "/account/sessions"] {
        let page = here.navigate(path).await.body;
        let (own, other) = (id_of(&here).await, id_of(&there).await);
        let position =
            |text: &str| page.find(&format!("data-session=\"{text}\"")).unwrap_or_else(|| panic!("{text} is missing"));
        assert!(position(&own) < position(&other), "the older, current one first");
        assert_eq!(page.matches("data-session=").count(), 2);
        assert_eq!(page.matches("This device</p>").count(), 1);
        for text in [
            "Your sessions",
            "User alice",
            "Firefox on Linux",
            "Safari on iOS",
            "icon-phone",
            "127.0.0.1",
            "1 Jan 2026, 00:01 UTC",
            "2026-01-01T00:01:00.000Z",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(
            !page.contains("http://") && !page.contains("action=\"/") && !page.contains("href=\"/"),
            "relative addresses only"
        );
    }
}

#[tokio::test]
async fn forms_do_the_work_and_come_back_with_a_notice_wherever_the_page_is_mounted() {
    let app = App::start().await;
    for mount in ["", "/account"] {
        let mut here = app.signed_in("alice").await;
        let others = [app.signed_in("alice").await, app.signed_in("alice").await, app.signed_in("alice").await];
        let id = id_of(&others[0]).await;
        let path = format!("{mount}/sessions/revoke");
        let answer = here.post(&path, &format!("id={id}")).await;
        let page = follow(&mut here, &path, &answer).await;
        assert!(page.status == 200 && page.body.contains("1 session ended."));
        assert_eq!(others[0].copy().me().await.status, 401);
        let answer = here.post(&path, &format!("id={id}")).await;
        assert!(follow(&mut here, &path, &answer).await.body.contains("That session had ended already."));

        let path = format!("{mount}/sessions/label");
        let id = id_of(&others[1]).await;
        let answer = here.post(&path, &format!("id={id}&label=%3Cb%3EKitchen%3C%2Fb%3E")).await;
        let page = follow(&mut here, &path, &answer).await.body;
        assert!(
            page.contains("Name saved.") && page.contains("&#60;b&#62;Kitchen&#60;/b&#62;") && !page.contains("<b>")
        );
        let answer = here.post(&path, &format!("id={id}&label=")).await;
        assert!(follow(&mut here, &path, &answer).await.body.contains("Name removed."));
        let answer = here.post(&path, &format!("id={id}&label={}", "x".repeat(65))).await;
        assert!(follow(&mut here, &path, &answer).await.body.contains("at most 64 characters"));
        let answer = here.post(&path, "id=x&label=y").await;
        assert!(follow(&mut here, &path, &answer).await.body.contains("Nothing was changed."));

        let path = format!("{mount}/sessions/revoke-others");
        let answer = here.post(&path, "").await;
        let page = follow(&mut here, &path, &answer).await.body;
        assert!(page.contains("2 sessions ended.") && page.contains("No other device is signed in."));
        for other in &others {
            assert_eq!(other.copy().me().await.status, 401);
        }

        let kept = here.copy();
        let path = format!("{mount}/sessions/sign-out");
        let answer = here.post(&path, "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/signin")));
        assert!(answer.removes_cookie());
        assert_eq!(kept.copy().me().await.status, 401);
    }
}

#[tokio::test]
async fn ending_the_current_session_by_its_form_signs_out() {
    let app = App::start().await;
    let mut here = app.signed_in("alice").await;
    let id = id_of(&here).await;
    let answer = here.post("/sessions/revoke", &format!("id={id}")).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/signin")));
    assert!(answer.removes_cookie());
}

#[tokio::test]
async fn a15_forms_touch_nothing_of_others() {
    let app = App::start().await;
    let (mut alice, bob) = (app.signed_in("alice").await, app.signed_in("bob").await);
    let id = id_of(&bob).await;
    assert_eq!(
        alice.post("/sessions/revoke", &format!("id={id}")).await.header("location"),
        Some("../sessions?notice=already-ended")
    );
    assert_eq!(
        alice.post("/sessions/label", &format!("id={id}&label=x")).await.header("location"),
        Some("../sessions?error=no-session")
    );
    alice.post("/sessions/revoke-others", "").await;
    assert_eq!(bob.copy().get("/api/sessions").await.json()[0]["label"], serde_json::Value::Null);
    let own = id_of(&alice).await;
    let twice = format!("id={own}&id={id}");
    assert_eq!(
        alice.post("/sessions/revoke", &twice).await.header("location"),
        Some("../sessions?notice=already-ended")
    );
    assert_eq!(alice.me().await.status, 200, "a field given twice names nothing");
}

#[tokio::test]
async fn a39_without_a_session_navigations_go_to_the_sign_in_page_and_back() {
    let app = App::start().await;
    let mut nobody = app.browser();
    for (path, location) in [
        ("/sessions", "/signin?callbackUrl=%2Fsessions"),
        ("/account/sessions?cursor=1&x=%2F", "/signin?callbackUrl=%2Faccount%2Fsessions%3Fcursor%3D1%26x%3D%252F"),
        ("/me?a=%0d%0aset-cookie:x=1", "/signin?callbackUrl=%2Fme%3Fa%3D%250d%250aset%2Dcookie%3Ax%3D1"),
        ("/me", "/signin?callbackUrl=%2Fme"),
    ] {
        let answer = nobody.navigate(path).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(location)), "{path}");
        assert_eq!((answer.header("cache-control"), answer.header("set-cookie")), (Some("no-store"), None));
    }
    // Older browsers send no Sec-Fetch-Mode but say that they want a page; scripts get a status.
    assert_eq!(nobody.send("GET", "/me", &[("accept", "text/html,*/*")], "").await.status, 303);
    assert_eq!(nobody.send("GET", "/me", &[("accept", "text/html"), ("sec-fetch-mode", "cors")], "").await.status, 401);
    assert_eq!(nobody.send("GET", "/me", &[("accept", "*/*")], "").await.status, 401);
    // A form comes back to the page, not to its own address.
    let form = [
        ("accept", "text/html"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", "same-origin"),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = nobody.send("POST", "/account/sessions/revoke", &form, "id=x").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/signin?callbackUrl=%2Faccount%2Fsessions")));
    let answer = nobody.send("POST", "/me", &form, "").await;
    assert_eq!(answer.header("location"), Some("/signin"), "what cannot be visited is not come back to");
}

#[tokio::test]
async fn without_a_sign_in_path_the_answer_is_a_401_page() {
    let app = App::with(Options { web: |web| web, ..Options::default() }).await;
    let answer = app.browser().navigate("/sessions").await;
    assert_eq!(answer.status, 401);
    assert!(
        answer.body.contains("<h1>Unauthorized</h1>")
            && answer.header("content-type") == Some("text/html; charset=utf-8")
    );
    let mut browser = app.signed_in("alice").await;
    assert_eq!(browser.post("/account/sessions/sign-out", "").await.header("location"), Some("../sessions"));
}

#[tokio::test]
async fn a34_user_agents_and_names_are_only_ever_text() {
    let app = App::start().await;
    for user_agent in [
        "<img src=x onerror=alert(1)>",
        "</script><script>alert(1)</script>",
        "\"onmouseover=\"alert(1)",
        "'onmouseover='alert(1)",
        "</title><h1>x",
        "{{ 7*7 }}{% raw %}",
        "&lt;script&gt;",
    ] {
        let mut browser = app.browser();
        browser.user_agent = user_agent.into();
        browser.post("/sign-in/alice", "").await;
        let id = id_of(&browser).await;
        let label: String = url::form_urlencoded::byte_serialize(user_agent.as_bytes()).collect();
        browser.post("/sessions/label", &format!("id={id}&label={label}")).await;
        let page = browser.navigate("/sessions").await.body;
        for markup in ["<img src=x", "<script>alert", "\"onmouseover", "'onmouseover", "<h1>x", "&lt;script"] {
            assert!(!page.contains(markup), "{markup} in the page of {user_agent}");
        }
        let text = user_agent
            .replace('&', "&#38;")
            .replace('<', "&#60;")
            .replace('>', "&#62;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;");
        assert!(page.contains(&text), "{user_agent} is shown as it is: {text}");
        browser.post("/sign-out", "").await;
    }
    let mut browser = app.browser();
    browser.user_agent = "x".repeat(8 * 1024);
    browser.post("/sign-in/alice", "").await;
    assert_eq!(browser.get("/api/sessions").await.json()[0]["device"]["userAgent"].as_str().unwrap().len(), 512);
}

#[tokio::test]
async fn notices_are_codes_and_never_text_from_the_address() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let plain = browser.navigate("/sessions").await.body;
    for query in [
        "notice=Call+0900+now",
        "notice=%3Cscript%3E",
        "error=Call+0900+now",
        "notice=ended&count=Call",
        "notice=ended&count=-1",
        "notice=ended",
        "notice=ended&notice=ended&count=1",
        "user_name=x&title=y",
        "cursor=garbage",
        "cursor=",
    ] {
        assert!(browser.navigate(&format!("/sessions?{query}")).await.body == plain, "{query}");
    }
    assert!(browser.navigate("/sessions?notice=ended&count=7").await.body.contains("7 sessions ended."));
}

#[tokio::test]
async fn many_sessions_come_in_pages() {
    let mut policy = Policies::default().of(&Class::WEB).clone();
    policy.max_per_user = None;
    let policies = Policies::default().with(Class::WEB, policy).unwrap();
    let app = App::with(Options { policies, ..Options::default() }).await;
    let mut oldest = app.signed_in("alice").await;
    for _ in 0..150 {
        app.clock.advance(std::time::Duration::from_millis(1));
        app.sessions.create(SignIn::new(UserId::new("alice").unwrap())).await.unwrap();
    }
    let first = oldest.navigate("/account/sessions").await.body;
    assert_eq!((first.matches("data-session=").count(), first.matches("This device</p>").count()), (101, 1));
    assert!(first.contains("<span class=\"count\">150</span>"));
    let from = first.split("sessions?cursor=").nth(1).unwrap().split('"').next().unwrap();
    let second = oldest.navigate(&format!("/account/sessions?cursor={from}")).await.body;
    assert_eq!((second.matches("data-session=").count(), second.matches("This device</p>").count()), (50, 0));
    assert!(!second.contains("sessions?cursor=") && second.contains("<span class=\"count\">150</span>"));
}
