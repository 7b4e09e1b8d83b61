//! The clients of sessions that another program made: noted once, written behind, and never over anything.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hallpass_core::store::{Filter, Page};
use hallpass_core::{
    Actor, Authentication, Client, EndReason, Issued, MAX_USER_AGENT_BYTES, Policies, Session, SignIn, State,
    ValidationMode,
};
use support::{DAY, ELSEWHERE, House, Probe, house_on, seconds, user};

/// A node on a table that another program shares, and a session of that program's making.
async fn beside() -> (House, Issued) {
    let house = on(&Arc::new(Probe { is_shared: true, ..Probe::default() }));
    let issued = made_by(&house, ELSEWHERE).await;
    (house, issued)
}

fn on(probe: &Arc<Probe>) -> House {
    house_on(probe, Policies::default(), ValidationMode::Strict)
}

async fn made_by(house: &House, source: &str) -> Issued {
    house.sessions.create(SignIn::new(user("alice")).source(source)).await.unwrap()
}

fn client(user_agent: &str) -> Client {
    Client::new(Some([203, 0, 113, 9].into()), Some(user_agent.as_bytes()))
}

/// A request that is accepted, as the web layer has it.
async fn request(house: &House, issued: &Issued, user_agent: &str) -> Session {
    let (session, _) = house.live(&issued.token).await.unwrap();
    if house.sessions.lacks_client(&session) {
        house.sessions.note_client(&session, &client(user_agent));
    }
    session
}

/// As the table has it.
fn stored(house: &House, issued: &Issued) -> Session {
    house.probe.store.tables().rows[&issued.session.id].session.clone()
}

fn notings(house: &House) -> u64 {
    house.probe.notings.load(Ordering::SeqCst)
}

#[tokio::test]
async fn the_first_client_is_written_behind_once_and_shown_at_once() {
    let (house, issued) = beside().await;
    let reads = house.probe.finds.load(Ordering::SeqCst);
    for _ in 0..3 {
        request(&house, &issued, "Firefox").await;
    }
    assert_eq!(house.probe.finds.load(Ordering::SeqCst) - reads, 3, "one read for each check");
    assert_eq!((notings(&house), stored(&house, &issued).client), (0, Client::default()), "nothing is waited for");
    let filter = Filter { user: Some(user("alice")), ..Filter::default() };
    let listed = house.sessions.list(&filter, Page::first(10)).await.unwrap().sessions;
    assert_eq!(listed[0].client, client("Firefox"), "the session manager shows it already");
    assert_eq!(house.sessions.show(issued.session.id).await.unwrap().unwrap().client, client("Firefox"));

    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 1);
    let noted = stored(&house, &issued);
    assert_eq!(noted, Session { client: client("Firefox"), ..issued.session.clone() }, "and nothing else moved");
    // A stolen token in another browser.
    let seen = request(&house, &issued, "Thief").await;
    house.sessions.note_client(&seen, &client("Thief"));
    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
    assert_eq!((notings(&house), stored(&house, &issued)), (1, noted), "nothing to note is nothing to write");
}

#[tokio::test]
async fn a06_a_note_that_comes_late_leaves_an_ended_session_as_it_ended() {
    for past_its_deadline in [false, true] {
        let (house, issued) = beside().await;
        let accepted = request(&house, &issued, "Firefox").await;
        let by = Actor::user(&accepted.user);
        if past_its_deadline {
            house.at(seconds(31 * DAY));
        } else {
            house.sessions.revoke(accepted.id, None, &by, EndReason::Revoked).await.unwrap();
        }
        let ended = stored(&house, &issued);
        assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
        assert_eq!(stored(&house, &issued), ended);
        house.refused(&issued.token).await;
        // A request that was accepted before, and is noted only now.
        house.sessions.note_client(&accepted, &client("Firefox"));
        if !past_its_deadline {
            let shown = house.sessions.show(accepted.id).await.unwrap().unwrap();
            assert!(matches!(shown.state, State::Ended(_)) && shown.client == Client::default(), "{shown:?}");
        }
        assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
        assert_eq!(stored(&house, &issued), ended);
        assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
        assert_eq!(notings(&house), 2, "it is given up and not tried for ever");
    }
}

/// What was known of two nodes' first requests: one of them is written, and the other one changes nothing.
#[tokio::test]
async fn of_two_nodes_the_first_to_write_has_noted_it() {
    let (house, issued) = beside().await;
    let other = on(&house.probe);
    request(&house, &issued, "Firefox").await;
    request(&other, &issued, "Chrome").await;
    assert_eq!(other.sessions.flush_last_seen().await.unwrap(), 1);
    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
    assert_eq!(stored(&house, &issued).client, client("Chrome"));
    assert_eq!(house.sessions.show(issued.session.id).await.unwrap().unwrap().client, client("Chrome"));
}

#[tokio::test]
async fn a_session_made_here_or_authenticated_here_is_left_alone() {
    // Without a client on purpose: a device that the application gave a token of its own.
    let (house, issued) = beside().await;
    let own = made_by(&house, "device").await;
    request(&house, &own, "Firefox").await;
    house.sessions.note_client(&own.session, &client("Firefox"));
    // Between a request and the flush the user authenticates at hallpass, from a client that nobody knows.
    let accepted = request(&house, &issued, "Firefox").await;
    let authentication = Authentication { methods: Vec::new(), source: "credentials".into() };
    let again = house.sessions.reauthenticate(&issued.token, authentication, Client::default()).await.unwrap();
    assert_eq!(house.sessions.show(accepted.id).await.unwrap().unwrap().client, Client::default());
    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
    for session in [stored(&house, &own), stored(&house, &again)] {
        assert_eq!(session.client, Client::default(), "{session:?}");
    }

    // Where no other program shares the store there is nothing to note.
    let alone = support::house(Policies::default());
    let issued = made_by(&alone, ELSEWHERE).await;
    request(&alone, &issued, "Firefox").await;
    alone.sessions.note_client(&issued.session, &client("Firefox"));
    assert_eq!((alone.sessions.flush_last_seen().await.unwrap(), notings(&alone)), (0, 0));
    assert_eq!(stored(&alone, &issued).client, Client::default());
}

#[tokio::test]
async fn a_note_that_could_not_be_written_is_kept_and_harms_no_check() {
    let (house, issued) = beside().await;
    house.at(seconds(120));
    house.probe.read_only.store(true, Ordering::SeqCst);
    request(&house, &issued, "Firefox").await;
    assert!(house.sessions.flush_last_seen().await.is_err());
    assert_eq!(house.probe.touches.load(Ordering::SeqCst), 1, "times are tried all the same");
    request(&house, &issued, "Chrome").await;
    house.probe.read_only.store(false, Ordering::SeqCst);
    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 2, "the client, and the time");
    assert_eq!(stored(&house, &issued).client, client("Firefox"));
}

#[tokio::test]
async fn what_is_noted_is_bounded_and_clean_and_nothing_is_no_note() {
    let (house, issued) = beside().await;
    house.sessions.note_client(&issued.session, &Client::default());
    assert!(house.sessions.lacks_client(&issued.session), "the next request may know more");
    let raw = Client { ip: None, user_agent: Some(format!("a\0{}", "x".repeat(5_000)).into()) };
    house.sessions.note_client(&issued.session, &raw);
    assert!(!house.sessions.lacks_client(&issued.session));
    house.sessions.flush_last_seen().await.unwrap();
    let text = stored(&house, &issued).client.user_agent.unwrap();
    assert!(text.len() <= MAX_USER_AGENT_BYTES && !text.contains('\0'), "{text:?}");
}

/// Hundreds of people come back at once after an upgrade.
#[tokio::test]
async fn many_are_written_at_once_in_few_commits_and_the_last_ones_at_shutdown() {
    let (house, _) = beside().await;
    let mut all = Vec::new();
    for n in 0..600 {
        let sign_in = SignIn::new(user(&format!("user{n}"))).source(ELSEWHERE);
        let issued = house.sessions.create(sign_in).await.unwrap();
        request(&house, &issued, &format!("Browser {n}")).await;
        all.push(issued);
    }
    assert_eq!((house.sessions.flush_last_seen().await.unwrap(), notings(&house)), (600, 3));
    for (n, issued) in all.iter().enumerate() {
        assert_eq!(stored(&house, issued).client, client(&format!("Browser {n}")));
    }
    let background = house.sessions.start_background();
    let last = made_by(&house, ELSEWHERE).await;
    request(&house, &last, "Firefox").await;
    background.shutdown().await;
    assert_eq!(stored(&house, &last).client, client("Firefox"));
}
