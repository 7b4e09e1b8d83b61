//! Live sessions move between stores, and nothing else is touched.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hallpass_conformance::MemoryStore;
use hallpass_core::store::{ChangeKind, Filter, Page, Record};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, Clock as _, Copied, CopyError, EndReason, Ended, Label,
    ManualClock, Policies, Session, SessionId, Sessions, SignIn, State, Store, Token, Validation, copy,
};
use support::{DAY, House, Probe, house, seconds, user};

struct Move {
    house: House,
    target: Arc<Probe>,
}

impl Move {
    fn new() -> Self {
        Self { house: house(Policies::default()), target: Arc::new(Probe::default()) }
    }

    async fn run(&self) -> Result<Copied, CopyError> {
        self.run_with(|| ()).await
    }

    async fn run_with(&self, mut at_each_step: impl FnMut() + Send) -> Result<Copied, CopyError> {
        let from: Arc<dyn Store> = self.house.probe.clone();
        let to: Arc<dyn Store> = self.target.clone();
        copy(&from, &to, &self.house.clock, &mut |_| at_each_step()).await
    }

    /// The verbs over the target, with the same clock.
    fn there(&self) -> Sessions {
        Sessions::builder(self.target.clone() as Arc<dyn Store>).clock(self.house.clock.clone()).build().unwrap()
    }

    async fn both(&self, id: SessionId) -> (Option<Record>, Option<Record>) {
        (self.house.probe.store.find(id).await.unwrap(), self.target.store.find(id).await.unwrap())
    }

    async fn assert_same(&self, id: SessionId) {
        let (ours, theirs) = self.both(id).await;
        let (ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        theirs.session.attributes_version = ours.session.attributes_version;
        assert_eq!(ours, theirs);
    }
}

async fn accepted(sessions: &Sessions, token: &Token) -> bool {
    matches!(sessions.validate(token).await.unwrap(), Validation::Live { .. })
}

async fn everything(store: &MemoryStore, clock: &ManualClock) -> Vec<Session> {
    let filter = Filter { include_ended: true, ..Filter::default() };
    store.list(&filter, Page::first(500), clock.now()).await.unwrap().sessions
}

#[tokio::test]
async fn live_sessions_go_on_and_the_others_stay_behind() {
    let journey = Move::new();
    let house = &journey.house;
    let rich = SignIn::new(user("alice"))
        .class(Class::REMEMBERED)
        .client(Client::new(Some("192.0.2.1".parse().unwrap()), Some(b"Firefox")))
        .method("pwd")
        .source("credentials")
        .attributes(Attributes::from_json(r#"{"a":1}"#).unwrap());
    let rich = house.sessions.create(rich).await.unwrap();
    house.sessions.set_label(rich.session.id, &user("alice"), Label::new("Kitchen").unwrap().as_ref()).await.unwrap();
    let (ended, behind_a_mark) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let expired = house.sign_in("carol").await;
    house.sessions.end(&ended.token).await.unwrap();
    house.sessions.revoke_user(&user("bob"), &Actor::system("test"), EndReason::RevokedUser).await.unwrap();
    house.at(seconds(29 * DAY));
    assert!(house.live(&rich.token).await.unwrap().1);
    let fresh = house.sign_in("bob").await;
    house.at(seconds(31 * DAY));

    let copied = journey.run().await.unwrap();
    let position = copied.position;
    assert!(position > 0, "what ended before is in the log");
    assert_eq!(copied, Copied { created: 2, live_in_source: 2, live_in_target: 2, position, ..Copied::default() });
    assert!(copied.agrees());
    for issued in [&rich, &fresh] {
        journey.assert_same(issued.session.id).await;
    }
    for issued in [&ended, &behind_a_mark, &expired] {
        assert_eq!(journey.both(issued.session.id).await.1, None);
    }
    assert_eq!(everything(&journey.target.store, &house.clock).await.len(), 2);

    let again = journey.run().await.unwrap();
    assert_eq!(again, Copied { present: 2, live_in_source: 2, live_in_target: 2, position, ..Copied::default() });
    for issued in [&rich, &fresh] {
        assert!(accepted(&journey.there(), &issued.token).await, "nobody signs in again");
    }
}

#[tokio::test]
async fn more_than_a_page_is_copied_with_its_progress_and_an_interrupted_copy_goes_on() {
    let journey = Move::new();
    for number in 0..1203 {
        journey.house.sign_in(&format!("user-{number}")).await;
    }
    let mut steps = 0;
    journey.house.probe.down.store(false, Ordering::SeqCst);
    let interrupted = journey
        .run_with(|| {
            steps += 1;
            journey.target.read_only.store(steps == 3, Ordering::SeqCst);
        })
        .await;
    assert!(matches!(interrupted, Err(CopyError::Target(_))), "{interrupted:?}");
    journey.target.read_only.store(false, Ordering::SeqCst);

    let mut seen = Vec::new();
    let (from, to): (Arc<dyn Store>, Arc<dyn Store>) = (journey.house.probe.clone(), journey.target.clone());
    let copied = copy(&from, &to, &journey.house.clock, &mut |at| seen.push((at.done, at.total))).await.unwrap();
    assert_eq!(copied.created + copied.present, 1203);
    assert!(copied.present >= 1000 && copied.created > 0, "{copied:?}");
    assert_eq!((copied.live_in_source, copied.live_in_target), (1203, 1203));
    assert_eq!(seen, [(0, 1203), (500, 1203), (1000, 1203), (1203, 1203)]);
}

#[tokio::test]
async fn what_changed_between_two_runs_is_brought_up_to_date() {
    let journey = Move::new();
    let house = &journey.house;
    let mut issued = Vec::new();
    for name in ["rotated", "reauthenticated", "renewed", "labelled", "attributes", "seen", "ended", "others", "same"] {
        issued.push(house.sign_in(name).await);
    }
    let [rotated, reauthenticated, renewed, labelled, attributes, seen, ended, others, same] = issued.as_slice() else {
        panic!("nine");
    };
    assert_eq!(journey.run().await.unwrap().created, 9);

    house.at(seconds(2 * DAY));
    let new = house.sessions.rotate(&rotated.token).await.unwrap();
    let method = Authentication { methods: vec!["otp".into()], source: "again".into() };
    let again = house.sessions.reauthenticate(&reauthenticated.token, method, Client::default()).await.unwrap();
    assert!(house.live(&renewed.token).await.unwrap().1);
    let label = Label::new("Desk").unwrap();
    house.sessions.set_label(labelled.session.id, &user("labelled"), label.as_ref()).await.unwrap();
    let changed = Attributes::from_json(r#"{"b":2}"#).unwrap();
    house.sessions.set_attributes(&attributes.session, &changed).await.unwrap();
    let now = house.clock.now();
    house.probe.touch(&[hallpass_core::store::LastSeen { id: seen.session.id, at: now }], now).await.unwrap();
    house.sessions.end(&ended.token).await.unwrap();
    house.sessions.revoke_user(&user("others"), &Actor::operator("root"), EndReason::UserDisabled).await.unwrap();

    let copied = journey.run().await.unwrap();
    assert_eq!((copied.created, copied.present, copied.updated, copied.ended), (0, 7, 6, 2), "{copied:?}");
    assert!(copied.agrees());
    for issued in [rotated, reauthenticated, renewed, labelled, attributes, seen, same] {
        journey.assert_same(issued.session.id).await;
    }
    let there = journey.there();
    assert!(accepted(&there, &new.token).await && accepted(&there, &again.token).await);
    for dead in [&rotated.token, &reauthenticated.token, &ended.token, &others.token] {
        assert!(!accepted(&there, dead).await);
    }
    let State::Ended(end) = journey.both(others.session.id).await.1.unwrap().session.state else {
        panic!("it lives");
    };
    assert_eq!((end.by, end.reason), (Actor::operator("root"), EndReason::UserDisabled), "with who and why");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g5_what_ends_in_the_source_meanwhile_ends_in_the_target() {
    let journey = Move::new();
    let house = &journey.house;
    let (one, of_user, kept) = (house.sign_in("alice").await, house.sign_in("bob").await, house.sign_in("carol").await);
    let mut step = 0;
    let copied = journey
        .run_with(|| {
            step += 1;
            if step == 2 {
                // After the only page: each was copied already.
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(async {
                        house.sessions.end(&one.token).await.unwrap();
                        let by = Actor::system("test");
                        house.sessions.revoke_user(&user("bob"), &by, EndReason::RevokedUser).await.unwrap();
                    });
                });
            }
        })
        .await
        .unwrap();
    assert_eq!((copied.created, copied.ended, copied.live_in_target), (3, 2, 1), "{copied:?}");
    let there = journey.there();
    assert!(!accepted(&there, &one.token).await && !accepted(&there, &of_user.token).await);
    assert!(accepted(&there, &kept.token).await);
}

#[tokio::test]
async fn a_target_that_knows_better_is_refused_whole() {
    let journey = Move::new();
    let (copied, later) = (journey.house.sign_in("alice").await, journey.house.sign_in("bob").await);
    journey.run().await.unwrap();
    // The target was taken into use: a sign-in there, and nothing of the source may go there any more.
    let own = journey.there().create(SignIn::new(user("dave"))).await.unwrap();
    let new = journey.house.sign_in("erin").await;
    assert!(matches!(journey.run().await, Err(CopyError::TargetInUse(id)) if id == own.session.id));
    assert_eq!(journey.both(new.session.id).await.1, None, "nothing was written");
    journey.there().end(&own.token).await.unwrap();

    journey.house.at(seconds(2 * DAY));
    assert!(matches!(journey.there().validate(&later.token).await, Ok(Validation::Live { renewed: true, .. })));
    assert!(matches!(journey.run().await, Err(CopyError::TargetInUse(id)) if id == later.session.id));
    assert_eq!(journey.both(new.session.id).await.1, None);
    assert!(accepted(&journey.there(), &copied.token).await);
}

#[tokio::test]
async fn what_expired_in_the_target_and_was_renewed_in_the_source_is_copied_anew() {
    let journey = Move::new();
    let house = &journey.house;
    let (renewed, gone) = (house.sign_in("alice").await, house.sign_in("bob").await);
    assert_eq!(journey.run().await.unwrap().created, 2);
    house.at(seconds(20 * DAY));
    assert!(house.live(&renewed.token).await.unwrap().1);
    house.at(seconds(40 * DAY));
    let copied = journey.run().await.unwrap();
    assert_eq!((copied.created, copied.present), (1, 0), "{copied:?}");
    assert!(copied.agrees());
    journey.assert_same(renewed.session.id).await;
    assert!(accepted(&journey.there(), &renewed.token).await && !accepted(&journey.there(), &gone.token).await);
}

#[tokio::test]
async fn a_store_that_fails_is_named() {
    let journey = Move::new();
    journey.house.sign_in("alice").await;
    journey.house.probe.down.store(true, Ordering::SeqCst);
    assert!(matches!(journey.run().await, Err(CopyError::Source(_))));
    journey.house.probe.down.store(false, Ordering::SeqCst);
    journey.target.down.store(true, Ordering::SeqCst);
    assert!(matches!(journey.run().await, Err(CopyError::Target(_))));
}

/// What happened meanwhile is in the source's log; where that is not what it was at the beginning, nobody knows what happened.
#[tokio::test]
async fn a_log_that_is_lost_meanwhile_is_an_error() {
    let journey = Move::new();
    let house = &journey.house;
    house.sign_in("alice").await;
    let others = |journey: &Move| journey.house.probe.store.tables().incarnation = [7; 16];
    assert!(matches!(journey.run_with(|| others(&journey)).await, Err(CopyError::LogLost)), "another incarnation");
    let trimmed = |journey: &Move| {
        let now = journey.house.clock.now();
        let mut tables = journey.house.probe.store.tables();
        for _ in 0..3 {
            tables.append(ChangeKind::User(user("alice")), now);
        }
        tables.log.clear();
        tables.append(ChangeKind::User(user("bob")), now);
    };
    assert!(matches!(journey.run_with(|| trimmed(&journey)).await, Err(CopyError::LogLost)), "entries are missing");
}

#[tokio::test]
async fn everybody_who_is_signed_out_meanwhile_is_signed_out_there() {
    let journey = Move::new();
    let mut issued = Vec::new();
    for name in ["alice", "bob"] {
        issued.push(journey.house.sign_in(name).await);
    }
    let mut is_done = false;
    let copied = journey
        .run_with(|| {
            let ended = Ended {
                at: journey.house.clock.now(),
                by: Actor::operator("test"),
                reason: EndReason::RevokedEveryone,
            };
            // After all were copied.
            if journey.target.store.tables().rows.len() == 2 && !std::mem::replace(&mut is_done, true) {
                let mut tables = journey.house.probe.store.tables();
                tables.end(&ended, |_| true);
                tables.append(ChangeKind::Everyone, ended.at);
            }
        })
        .await
        .unwrap();
    assert_eq!((copied.created, copied.ended, copied.live_in_target), (2, 2, 0));
    for one in &issued {
        assert!(!accepted(&journey.there(), &one.token).await);
    }
}

#[tokio::test]
async fn what_the_target_acknowledged_and_does_not_have_is_an_error() {
    let journey = Move::new();
    let issued = journey.house.sign_in("alice").await;
    journey.target.loses_creations.store(true, Ordering::SeqCst);
    assert!(matches!(journey.run().await, Err(CopyError::Differs(id)) if id == issued.session.id));
}
