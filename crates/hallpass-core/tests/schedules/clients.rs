//! Clients of sessions that another program made are noted while the session is used elsewhere, written and ended.

use std::sync::Arc;

use hallpass_core::{Authentication, Client, Issued, Session, Sessions, State, Validation};
use shuttle::future::block_on;
use shuttle::thread;

use crate::explore;
use crate::given::{Given, What, accepts, revoke};

fn client(name: &str) -> Client {
    Client::new(None, Some(name.as_bytes()))
}

/// A request as the web layer has it. What the check read may be long over when the note is made.
fn request(node: &Sessions, issued: &Issued, name: &str) {
    let outcome = node.validate_now(&issued.token).unwrap_or_else(|| block_on(node.validate(&issued.token)));
    if let Validation::Live { session, .. } = outcome.unwrap()
        && node.lacks_client(&session)
    {
        node.note_client(&session, &client(name));
    }
}

fn flush(node: &Sessions) {
    block_on(node.flush_last_seen()).unwrap();
}

fn stored(given: &Given, issued: &Issued) -> Session {
    given.probe.store.tables().rows[&issued.session.id].session.clone()
}

/// Three requests on two nodes, and what happens to the session meanwhile.
fn noting(meanwhile: fn(&Given, &Issued)) -> (Arc<Given>, Arc<Issued>) {
    let given = Arc::new(Given::beside(2));
    let issued = Arc::new(given.made_elsewhere("alice"));
    let mut threads = Vec::new();
    for (node, name) in [(0, "Firefox"), (0, "Chrome"), (1, "Safari")] {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        threads.push(thread::spawn(move || {
            request(&given.nodes[node], &issued, name);
            flush(&given.nodes[node]);
        }));
    }
    {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        threads.push(thread::spawn(move || {
            let mut known = Client::default();
            for _ in 0..4 {
                let shown = block_on(given.nodes[1].store().find(issued.session.id)).unwrap().unwrap().session;
                // Whoever authenticates here brings a client of his own.
                if shown.authentication == issued.session.authentication {
                    assert!(known == Client::default() || known == shown.client, "what was noted was replaced");
                    known = shown.client;
                }
            }
        }));
    }
    meanwhile(&given, &issued);
    for thread in threads {
        thread.join().unwrap();
    }
    (given, issued)
}

fn alone() {
    let (given, issued) = noting(|_, _| {});
    let noted = stored(&given, &issued);
    assert!(["Firefox", "Chrome", "Safari"].map(client).contains(&noted.client), "nobody's: {:?}", noted.client);
    assert_eq!(noted, Session { client: noted.client.clone(), ..issued.session.clone() });
    assert_eq!(block_on(given.nodes[0].show(noted.id)).unwrap().unwrap(), noted);
    request(&given.nodes[0], &issued, "Thief");
    flush(&given.nodes[0]);
    assert_eq!(stored(&given, &issued), noted);
}

fn ended() {
    let (given, issued) = noting(|given, issued| {
        revoke(&given.nodes[0], What::Session, &issued.session);
        let ended = stored(given, issued);
        assert!(matches!(ended.state, State::Ended(_)));
        // From here on nothing moves, whatever is on its way.
        for node in &given.nodes {
            flush(node);
            assert_eq!(stored(given, issued), ended, "an ended session was written to");
        }
    });
    let ended = stored(&given, &issued);
    assert!(matches!(ended.state, State::Ended(_)), "it came back");
    for node in &given.nodes {
        flush(node);
        assert!(!accepts(node, &issued.token));
    }
    assert_eq!(stored(&given, &issued), ended);
}

fn authenticated() {
    let (given, issued) = noting(|given, issued| {
        let authentication = Authentication { methods: vec!["pwd".into()], source: "credentials".into() };
        block_on(given.nodes[0].reauthenticate(&issued.token, authentication, client("Laptop"))).unwrap();
    });
    for node in &given.nodes {
        flush(node);
    }
    assert_eq!(stored(&given, &issued).client, client("Laptop"), "a note was written over it");
}

#[test]
fn of_several_requests_at_once_one_has_noted_its_client_for_good() {
    explore(alone);
}

#[test]
fn a06_no_note_reaches_a_session_that_has_ended() {
    explore(ended);
}

#[test]
fn no_note_replaces_the_client_of_an_authentication() {
    explore(authenticated);
}
