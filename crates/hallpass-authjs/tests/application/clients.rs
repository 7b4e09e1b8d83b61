//! The clients of sessions that the application made, which it does not keep.

use hallpass_core::store::{ClientNote, SharedTokens as _};
use hallpass_core::{Actor, Authentication, Client, EndReason, Session, SignIn, State, Token};

use crate::common::DAY;
use crate::{LAYOUTS, NOW, OTHER, Shared, UUID};

on_every_layout! {
    the_first_client_is_noted_once_and_shown
    a06_a_client_is_noted_of_no_session_that_either_side_has_ended
    a_client_that_hallpass_knows_is_never_replaced
}

fn client(user_agent: &str) -> Client {
    Client::new(Some([203, 0, 113, 9].into()), Some(user_agent.as_bytes()))
}

/// A request as the web layer has it, and the writing that comes behind it; how many clients were written.
async fn request(shared: &Shared, token: &Token, client: &Client) -> u64 {
    let session = shared.live(token).await;
    if shared.sessions.lacks_client(&session) {
        shared.sessions.note_client(&session, client);
    }
    shared.sessions.flush_last_seen().await.unwrap()
}

/// As the database has it, whatever waits in memory.
async fn stored(shared: &Shared, session: &Session) -> Session {
    use hallpass_core::Store as _;
    shared.store.find(session.id).await.unwrap().unwrap().session
}

/// Whatever core would let through: the store's own condition.
async fn noted(shared: &Shared, session: &Session, user_agent: &str) -> u64 {
    let note = ClientNote { id: session.id, client: client(user_agent) };
    shared.store.note_clients(&[note], shared.clock_now()).await.unwrap()
}

mod cases {
    use super::*;

    pub(super) async fn the_first_client_is_noted_once_and_shown(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let token = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let other = shared.application_signs_in(OTHER, &alice, NOW.plus(30 * DAY)).await;
        let third = shared.application_signs_in(THIRD, &alice, NOW.plus(30 * DAY)).await;
        let before = shared.live(&token).await;
        assert_eq!(before.client, Client::default(), "{at}");
        // Text that a table may have in another form, of the greatest length.
        let first = client(&format!("Mozilla/5.0 \u{1f9ea} ' \" \\ ? {}", "é".repeat(400)));
        assert_eq!(request(&shared, &token, &first).await, 1, "{at}");
        assert_eq!(*shared.live(&token).await, Session { client: first.clone(), ..(*before).clone() }, "{at}");
        let thief = client("Thief");
        assert_eq!(request(&shared, &token, &thief).await, 0, "{at}");
        assert_eq!(noted(&shared, &before, "Thief").await, 0, "{at}");
        // Either half of what can be known is enough, and is not completed by somebody else.
        for (token, half) in
            [(&other, Client { user_agent: None, ..thief.clone() }), (&third, Client { ip: None, ..client("Firefox") })]
        {
            assert_eq!(request(&shared, token, &half).await, 1, "{at}");
            let seen = shared.live(token).await;
            assert_eq!((&seen.client, noted(&shared, &seen, "Thief").await), (&half, 0), "{at}");
            assert!(!shared.store.lacks_client(&seen), "{at}: or each request would note it anew");
            let listed = shared.listed(&alice).await;
            assert!(listed.iter().any(|session| session.id == seen.id && session.client == half), "{at}");
        }
        // What was noted goes on with the session.
        shared.clock.advance(2 * DAY);
        assert_eq!(shared.live(&token).await.client, first, "{at}");
        assert_eq!(shared.rows(UUID).await, 1, "{at}");
    }

    pub(super) async fn a06_a_client_is_noted_of_no_session_that_either_side_has_ended(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let here = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let there = shared.application_signs_in(OTHER, &alice, NOW.plus(30 * DAY)).await;
        let (here, there) = (shared.live(&here).await, shared.live(&there).await);
        // Both are in flight: accepted, and to be noted when the sessions end.
        shared.sessions.note_client(&here, &client("Firefox"));
        shared.sessions.note_client(&there, &client("Firefox"));
        let by = Actor::user(&alice);
        assert_eq!(shared.sessions.revoke(here.id, None, &by, EndReason::Revoked).await.unwrap(), 1, "{at}");
        shared.application_signs_out(OTHER).await;
        assert_eq!(shared.sessions.flush_last_seen().await.unwrap(), 0, "{at}");
        for (session, text) in [(&here, UUID), (&there, OTHER)] {
            let ended = stored(&shared, session).await;
            assert!(matches!(ended.state, State::Ended(_)) && ended.client == Client::default(), "{at}: {ended:?}");
            assert_eq!(shared.rows(text).await, 0, "{at}");
        }
        assert!(shared.listed(&alice).await.is_empty(), "{at}");

        // Nor of one past its deadline by either table, though its row is there.
        shared.application_signs_in(THIRD, &alice, NOW.plus(DAY)).await;
        let idle = shared.listed(&alice).await.pop().unwrap();
        shared.clock.set(NOW.plus(DAY));
        assert_eq!(noted(&shared, &idle, "Firefox").await, 0, "{at}: idle");
        shared.clock.set(NOW.plus(90 * DAY));
        shared.application_extends(THIRD, NOW.plus(120 * DAY)).await;
        assert_eq!(noted(&shared, &idle, "Firefox").await, 0, "{at}: past its absolute timeout");
        assert_eq!(stored(&shared, &idle).await.client, Client::default(), "{at}");
    }

    pub(super) async fn a_client_that_hallpass_knows_is_never_replaced(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        // Made by hallpass, with a client and without one.
        let own = shared.sessions.create(SignIn::new(alice.clone()).source("device")).await.unwrap();
        let known = SignIn::new(alice.clone()).client(client("Laptop"));
        let known = shared.sessions.create(known).await.unwrap();
        for (issued, expected) in [(&own, Client::default()), (&known, client("Laptop"))] {
            assert!(!shared.store.lacks_client(&*shared.live(&issued.token).await), "{at}");
            assert_eq!(request(&shared, &issued.token, &client("Firefox")).await, 0, "{at}");
            assert_eq!(noted(&shared, &issued.session, "Firefox").await, 0, "{at}");
            assert_eq!(stored(&shared, &issued.session).await.client, expected, "{at}");
        }
        // Made by the application, and authenticated by hallpass between a request and its note.
        let token = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let session = shared.live(&token).await;
        shared.sessions.note_client(&session, &client("Firefox"));
        let authentication = Authentication { methods: vec!["pwd".into()], source: "credentials".into() };
        let again = shared.sessions.reauthenticate(&token, authentication, Client::default()).await.unwrap();
        assert_eq!(shared.sessions.flush_last_seen().await.unwrap(), 0, "{at}");
        let session = shared.live(&again.token).await;
        assert!(session.client == Client::default() && !shared.store.lacks_client(&session), "{at}");
    }
}

const THIRD: &str = "2f6c7d2e-52b6-4f1c-8e55-1f2d3c4b5a71";

/// Sixteen requests on two nodes with a session whose client nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_first_requests_at_once_on_two_nodes_one_is_noted() {
    for layout in ["prisma.postgres", "drizzle.sqlite", "kysely.mysql"] {
        let shared = Shared::new(layout, false).await;
        let token = shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
        let session = shared.live(&token).await;
        let other = std::sync::Arc::new(shared.application.store(crate::options(false)).await);
        let writes: Vec<_> = (0..16)
            .map(|n| {
                let store = std::sync::Arc::clone(if n % 2 == 0 { &shared.store } else { &other });
                let notes = [ClientNote { id: session.id, client: client(&format!("Browser {n}")) }];
                tokio::spawn(async move { (n, store.note_clients(&notes, NOW).await.unwrap()) })
            })
            .collect();
        let mut written = Vec::new();
        for write in writes {
            let (n, rows) = write.await.unwrap();
            if rows > 0 {
                written.push(n);
            }
        }
        assert_eq!(written.len(), 1, "{layout}");
        assert_eq!(stored(&shared, &session).await.client, client(&format!("Browser {}", written[0])), "{layout}");
    }
}
