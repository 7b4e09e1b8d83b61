//! Checks that take no waiting say what the others say, and do nothing where they say nothing.

mod support;

use std::sync::atomic::Ordering;

use hallpass_core::{Actor, EndReason, Event, Invalid, Policies, Token, Validation};
use support::{DAY, house, seconds};

fn session_of(validation: &Validation) -> Option<(hallpass_core::Session, bool)> {
    match validation {
        Validation::Live { session, renewed } => Some(((**session).clone(), *renewed)),
        Validation::Invalid(_) => None,
    }
}

#[tokio::test]
async fn both_ways_give_the_same_answers_and_events() {
    for answers_later in [false, true] {
        let house = house(Policies::default());
        house.probe.answers_later.store(answers_later, Ordering::SeqCst);
        let (kept, ended) = (house.sign_in("alice").await, house.sign_in("alice").await);
        let stale = house.sign_in("bob").await.token;
        house.sessions.rotate(&stale).await.unwrap();
        house.sessions.revoke(ended.session.id, None, &Actor::system("test"), EndReason::Revoked).await.unwrap();
        let forged = Token::generate(kept.session.id, &hallpass_core::OsEntropy).unwrap();
        house.at(seconds(DAY - 1));
        let before = house.events.all().len();

        let outcome = house.check(&kept.token).await.unwrap();
        assert_eq!(session_of(&outcome), Some((kept.session.clone(), false)), "{answers_later}");
        assert_eq!(house.refused(&forged).await, Invalid::WrongSecret);
        assert_eq!(house.refused(&stale).await, Invalid::WrongSecret);
        assert!(matches!(house.refused(&ended.token).await, Invalid::Ended(end) if end.reason == EndReason::Revoked));
        house.at(seconds(31 * DAY));
        assert_eq!(house.refused(&kept.token).await, Invalid::IdleTimeout);
        let refused =
            house.events.all()[before..].iter().filter(|event| matches!(event, Event::Refused { .. })).count();
        assert_eq!(refused, 4, "{answers_later}");
    }
}

#[tokio::test]
async fn where_waiting_is_needed_nothing_was_done() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.probe.answers_later.store(true, Ordering::SeqCst);
    assert!(house.sessions.validate_now(&token).is_none(), "the store answers later");
    house.probe.answers_later.store(false, Ordering::SeqCst);
    assert!(house.sessions.validate_now(&token).is_some());

    house.at(seconds(DAY));
    let before = house.events.all().len();
    assert!(house.sessions.validate_now(&token).is_none(), "an extension is due");
    assert_eq!((house.events.all().len(), house.probe.renewals.load(Ordering::SeqCst)), (before, 0));
    assert!(house.live(&token).await.unwrap().1, "and is made by the other way");
    assert!(house.sessions.validate_now(&token).is_some());

    house.probe.down.store(true, Ordering::SeqCst);
    assert!(matches!(house.sessions.validate_now(&token), Some(Err(_))), "G8: an error is no answer");
}
