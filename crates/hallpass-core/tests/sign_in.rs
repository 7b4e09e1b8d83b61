//! Fixation and rotation: what a client came with is never adopted, and an old token is dead at once.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::Arc;

use hallpass_core::{
    Actor, Attributes, Class, CreateError, EndReason, Entropy, EntropyError, Event, Invalid, Policies, SessionId,
    Sessions, SignIn, State, Store, Token,
};
use support::{DAY, Probe, Recorder, house, seconds, user};

#[tokio::test]
async fn a01_a_session_of_the_same_user_keeps_its_id_and_gets_a_new_token() {
    let house = house(Policies::default());
    let old = house.sign_in("alice").await;
    let new = house.sessions.sign_in(std::slice::from_ref(&old.token), SignIn::new(user("alice"))).await.unwrap();
    assert_eq!(new.session.id, old.session.id);
    assert_eq!(house.refused(&old.token).await, Invalid::WrongSecret);
    assert!(house.live(&new.token).await.is_some());
}

#[tokio::test]
async fn a01_a_planted_session_of_somebody_else_is_ended_and_nothing_of_it_kept() {
    let house = house(Policies::default());
    let attributes = Attributes::from_json(r#"{"cart":"of mallory"}"#).unwrap();
    let planted = house.sessions.create(SignIn::new(user("mallory")).attributes(attributes)).await.unwrap();
    let new = house.sessions.sign_in(std::slice::from_ref(&planted.token), SignIn::new(user("alice"))).await.unwrap();
    assert_ne!(new.session.id, planted.session.id);
    let (session, _) = house.live(&new.token).await.unwrap();
    assert_eq!(session.user, user("alice"));
    assert!(session.attributes.is_empty());
    let Invalid::Ended(ended) = house.refused(&planted.token).await else { panic!("still there") };
    assert_eq!((ended.reason, ended.by), (EndReason::Replaced, Actor::user(&user("alice"))));
}

#[tokio::test]
async fn a02_tokens_that_were_never_issued_or_have_expired_are_not_adopted() {
    let house = house(Policies::default());
    let expired = house.sign_in("alice").await;
    house.at(seconds(31 * DAY));
    let invented = Token::generate(SessionId::from_bytes([7; 16]), &hallpass_core::OsEntropy).unwrap();
    // The right id with a secret of the attacker's choice.
    let victim = house.sign_in("alice").await;
    let forged = Token::generate(victim.session.id, &hallpass_core::OsEntropy).unwrap();

    let presented = [expired.token, invented, forged];
    let new = house.sessions.sign_in(&presented, SignIn::new(user("alice"))).await.unwrap();
    for token in &presented {
        assert_ne!(new.session.id, token.id());
        assert!(house.live(token).await.is_none());
    }
    assert!(house.sessions.show(presented[1].id()).await.unwrap().is_none(), "no row for an invented id");
    assert!(house.live(&victim.token).await.is_some(), "a forged token must not end the session it names");
    assert!(house.live(&new.token).await.is_some());
}

#[tokio::test]
async fn two_presented_sessions_leave_only_the_new_token_alive() {
    let house = house(Policies::default());
    let (first, second) = (house.sign_in("alice").await, house.sign_in("alice").await);
    let presented = [first.token, second.token];
    let new = house.sessions.sign_in(&presented, SignIn::new(user("alice"))).await.unwrap();
    for token in &presented {
        assert!(house.live(token).await.is_none());
    }
    assert!(house.live(&new.token).await.is_some());
}

#[tokio::test]
async fn another_class_or_new_attributes_make_a_new_session_and_end_the_old_one() {
    let house = house(Policies::default());
    for sign_in in [
        SignIn::new(user("alice")).class(Class::REMEMBERED),
        SignIn::new(user("alice")).attributes(Attributes::default()),
    ] {
        let old = house.sign_in("alice").await;
        let new = house.sessions.sign_in(std::slice::from_ref(&old.token), sign_in).await.unwrap();
        assert_ne!(new.session.id, old.session.id);
        assert!(house.live(&old.token).await.is_none());
    }
    assert!(matches!(
        house.sessions.create(SignIn::new(user("alice")).class(Class::new("kiosk").unwrap())).await,
        Err(CreateError::UnknownClass(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a42_of_many_rotations_at_once_exactly_one_wins_and_the_old_token_is_dead() {
    let house = Arc::new(house(Policies::default()));
    let old = Arc::new(house.sign_in("alice").await.token);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (house, old) = (Arc::clone(&house), Arc::clone(&old));
            tokio::spawn(async move {
                let rotated = house.sessions.rotate(&old).await;
                // Whoever lost must already find the old token dead.
                assert_eq!(house.refused(&old).await, Invalid::WrongSecret);
                rotated.ok()
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    assert!(house.live(&winners[0].token).await.is_some());
    assert_eq!(house.refused(&old).await, Invalid::WrongSecret);
}

#[tokio::test]
async fn a07_signing_out_is_final_and_needs_the_secret() {
    let house = house(Policies::default());
    let issued = house.sign_in("alice").await;
    let forged = Token::generate(issued.session.id, &hallpass_core::OsEntropy).unwrap();
    assert!(!house.sessions.end(&forged).await.unwrap());
    assert!(house.live(&issued.token).await.is_some());
    assert!(house.sessions.end(&issued.token).await.unwrap());
    assert!(!house.sessions.end(&issued.token).await.unwrap(), "once");
    assert!(house.live(&issued.token).await.is_none());
    assert!(house.sessions.rotate(&issued.token).await.is_err());
    let session = house.sessions.show(issued.session.id).await.unwrap().unwrap();
    let State::Ended(ended) = session.state else { panic!("no tombstone") };
    assert_eq!(ended.reason, EndReason::SignedOut);
    assert_eq!(house.events.count(|event| matches!(event, Event::Ended { reason: EndReason::SignedOut, .. })), 1);
}

#[tokio::test]
async fn a15_revoking_needs_the_owner_and_tells_nothing_about_foreign_ids() {
    let house = house(Policies::default());
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let by = Actor::user(&user("bob"));
    let owner = user("bob");
    let unknown = SessionId::from_bytes([1; 16]);
    for id in [alice.session.id, unknown] {
        assert_eq!(house.sessions.revoke(id, Some(&owner), &by, EndReason::Revoked).await.unwrap(), 0);
        assert!(!house.sessions.set_label(id, &owner, None).await.unwrap());
    }
    assert!(house.live(&alice.token).await.is_some());
    assert_eq!(house.sessions.revoke(bob.session.id, Some(&owner), &by, EndReason::Revoked).await.unwrap(), 1);
    assert_eq!(house.sessions.revoke(bob.session.id, Some(&owner), &by, EndReason::Revoked).await.unwrap(), 0);
}

#[tokio::test]
async fn revoking_others_keeps_exactly_the_current_one_and_everyone_keeps_none() {
    let house = house(Policies::default());
    let current = house.sign_in("alice").await;
    let others = [house.sign_in("alice").await, house.sign_in("alice").await];
    let bob = house.sign_in("bob").await;
    let by = Actor::user(&user("alice"));
    let revoked = house.sessions.revoke_others(&current.session, &by, EndReason::RevokedOthers).await.unwrap();
    assert_eq!(revoked.ended, Some(2));
    for other in &others {
        assert!(matches!(house.refused(&other.token).await, Invalid::Ended(e) if e.reason == EndReason::RevokedOthers));
    }
    assert!(house.live(&current.token).await.is_some());
    assert!(house.live(&bob.token).await.is_some());

    assert_eq!(house.sessions.revoke_user(&user("alice"), &by, EndReason::UserDisabled).await.unwrap().ended, Some(1));
    assert!(house.live(&current.token).await.is_none());
    let after = house.sign_in("alice").await;
    house.sessions.revoke_everyone(&Actor::operator("root")).await.unwrap();
    assert!(house.live(&bob.token).await.is_none());
    assert!(house.live(&after.token).await.is_none());
    assert!(house.live(&house.sign_in("alice").await.token).await.is_some(), "a session made afterwards lives");
}

/// Repeats the first id once, or fails altogether.
#[derive(Debug)]
struct Stuck {
    bytes: std::sync::Mutex<Vec<u8>>,
}

impl Entropy for Stuck {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut bytes = self.bytes.lock().unwrap();
        let fill = bytes.pop().ok_or_else(|| EntropyError("no more".into()))?;
        buffer.fill(fill);
        Ok(())
    }
}

#[tokio::test]
async fn a05_a_repeated_id_is_tried_again_and_never_overwrites_and_a18_a_failing_generator_creates_nothing() {
    let sessions = |bytes: Vec<u8>, probe: Arc<Probe>| -> Sessions {
        Sessions::builder(probe as Arc<dyn Store>)
            .clock(hallpass_core::ManualClock::default())
            .events(Recorder::default())
            .entropy(Stuck { bytes: std::sync::Mutex::new(bytes) })
            .build()
            .unwrap()
    };
    let probe = Arc::new(Probe::default());
    // Popped from the end: id 1, secret 1; then id 1 again with secret 2, then id 3 with secret 3.
    let stuck = sessions(vec![3, 3, 2, 1, 1, 1], Arc::clone(&probe));
    let alice = stuck.create(SignIn::new(user("alice"))).await.unwrap();
    let second = stuck.create(SignIn::new(user("alice"))).await.unwrap();
    assert_ne!(alice.session.id, second.session.id);
    assert!(matches!(stuck.validate(&alice.token).await.unwrap(), hallpass_core::Validation::Live { .. }));

    let always = sessions(vec![9; 100], Arc::clone(&probe));
    always.create(SignIn::new(user("bob"))).await.unwrap();
    assert!(matches!(always.create(SignIn::new(user("bob"))).await, Err(CreateError::Entropy(_))));

    let broken = sessions(vec![], Arc::clone(&probe));
    assert!(matches!(broken.create(SignIn::new(user("carol"))).await, Err(CreateError::Entropy(_))));
    let filter = hallpass_core::store::Filter { user: Some(user("carol")), ..Default::default() };
    assert_eq!(probe.store.count(&filter, broken.now()).await.unwrap(), 0);
}

#[tokio::test]
async fn a52_no_event_carries_a_token() {
    let house = house(Policies::default());
    let first = house.sign_in("alice").await;
    let second = house.sessions.rotate(&first.token).await.unwrap();
    house.refused(&first.token).await;
    house.sessions.end(&second.token).await.unwrap();
    house.refused(&second.token).await;
    let shown = format!("{:?}", house.events.all());
    assert!(house.events.all().len() >= 5, "{shown}");
    for token in [&first.token, &second.token] {
        // From character 26 on the text depends on the secret alone.
        assert!(!shown.contains(&token.expose().as_str()[26..40]));
    }
}
