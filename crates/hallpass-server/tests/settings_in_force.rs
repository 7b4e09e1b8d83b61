//! Settings that change what is accepted reach the server.

mod support;

use support::{Place, Server, new_password};

const PEPPER: &str = "0123456789abcdef0123456789abcdef";

async fn serve(place: Place, settings: &[(&str, &str)]) -> Server {
    place
        .serve_with(|command| {
            command.envs(settings.iter().copied());
        })
        .await
}

#[tokio::test]
async fn a_pepper_keys_the_stored_hashes() {
    let (place, password) = (Place::new(), new_password());
    place.add_user("alice@example.org", &password);
    let server = serve(place, &[("HALLPASS_PEPPER", PEPPER)]).await;
    let token = server.sign_in("alice@example.org", &password).await.session_token().unwrap();
    let mut place = server.stop().await;
    for (settings, accepted) in [(&[][..], false), (&[("HALLPASS_PEPPER", PEPPER)][..], true)] {
        let server = serve(place, settings).await;
        let browser = server.browser();
        browser.set_cookie("session", &token);
        assert_eq!(browser.is_signed_in().await, accepted, "{} settings", settings.len());
        place = server.stop().await;
    }
}

#[tokio::test]
async fn a_policy_of_the_settings_decides_about_old_sessions_and_new_ones() {
    let (place, password) = (Place::new(), new_password());
    place.add_user("alice@example.org", &password);
    let server = serve(place, &[("HALLPASS_POLICY_WEB_MAX_PER_USER", "1")]).await;
    let first = server.sign_in("alice@example.org", &password).await;
    let second = server.sign_in("alice@example.org", &password).await;
    assert!(!first.is_signed_in().await && second.is_signed_in().await, "at most one");
    let token = second.session_token().unwrap();
    // Made under a limit of 90 days, over under one of a second: asks until the server says so.
    let server = serve(server.stop().await, &[("HALLPASS_POLICY_WEB_ABSOLUTE_TIMEOUT", "1s")]).await;
    let browser = server.browser();
    browser.set_cookie("session", &token);
    let over = async { while browser.is_signed_in().await {} };
    tokio::time::timeout(support::PATIENCE, over).await.unwrap();
}
