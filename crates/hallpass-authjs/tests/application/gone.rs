//! Sessions whose rows the application has deleted: one by one, as users sign out there, or all of a user who is gone.

use hallpass_authjs::Engine;
use hallpass_core::store::{Change, ChangeKind};
use hallpass_core::{Actor, EndReason, Ended, SessionId, SignIn, State, Store as _};

use crate::common::DAY;
use crate::{LAYOUTS, NOW, OTHER, Shared, UUID};

on_every_layout! {
    the_sessions_of_a_user_who_is_gone_end_with_who_and_why
    one_session_of_a_user_who_is_gone_ends_with_who_and_why
    what_the_application_ended_is_neither_counted_nor_said_to_be_ended_here
    sweeping_forgets_the_tokens_of_rows_that_are_gone
}

/// How a session has ended, as it is shown.
async fn end(shared: &Shared, id: SessionId) -> Ended {
    match shared.sessions.show(id).await.unwrap().unwrap().state {
        State::Ended(ended) => ended,
        state @ State::Live => panic!("{}: {state:?}", shared.layout),
    }
}

async fn log(shared: &Shared) -> Vec<ChangeKind> {
    let changes = shared.store.changes_since(0, 100).await.unwrap();
    changes.entries.into_iter().map(|Change { kind, .. }| kind).collect()
}

/// The tokens in our own table, of sessions that have ended or not.
async fn kept(shared: &Shared) -> usize {
    let application = &shared.application;
    let side = match application.engine {
        Engine::Sqlite => {
            if application.texts("SELECT name FROM pragma_database_list WHERE name = 'aside'").await.is_empty() {
                let file = application.url.replace("app.db", "app.hallpass.db");
                application.run(&format!("ATTACH '{file}' AS aside")).await;
            }
            String::from("aside")
        }
        Engine::Postgres => String::from("hallpass"),
        _ => application.texts("SELECT CONCAT(DATABASE(), '_hallpass')").await.remove(0),
    };
    let sql = format!("SELECT id FROM {side}.hallpass_sessions WHERE session_token IS NOT NULL");
    application.texts(&sql).await.len()
}

mod cases {
    use super::*;

    pub(super) async fn the_sessions_of_a_user_who_is_gone_end_with_who_and_why(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let theirs = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let theirs = shared.live(&theirs).await.id;
        let ours = shared.sessions.create(SignIn::new(alice.clone())).await.unwrap();
        let bobs = shared.sessions.create(SignIn::new(shared.bob())).await.unwrap();
        shared.application_deletes(&alice).await;

        let (by, reason) = (Actor::operator("root"), EndReason::UserDeleted);
        let revoked = shared.sessions.revoke_user(&alice, &by, reason).await.unwrap();
        assert_eq!(revoked.ended, Some(2), "{at}");
        for id in [theirs, ours.session.id] {
            assert_eq!(end(&shared, id).await, Ended { at: NOW, by: by.clone(), reason }, "{at}");
        }
        assert_eq!(log(&shared).await, [ChangeKind::User(alice.clone())], "{at}");
        assert_eq!(kept(&shared).await, 1, "{at}: bob's");
        let again = shared.sessions.revoke_user(&alice, &by, EndReason::RevokedUser).await.unwrap();
        assert_eq!((again.ended, log(&shared).await.len()), (Some(0), 1), "{at}");
        assert_eq!(end(&shared, theirs).await.reason, reason, "{at}");
        shared.live(&bobs.token).await;

        // What was over by its own deadline is not one that this ended.
        shared.clock.advance(31 * DAY);
        shared.application_deletes(&shared.bob()).await;
        let late = shared.sessions.revoke_user(&shared.bob(), &by, reason).await.unwrap();
        assert_eq!((late.ended, kept(&shared).await), (Some(0), 0), "{at}");
    }

    pub(super) async fn one_session_of_a_user_who_is_gone_ends_with_who_and_why(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let issued = shared.sessions.create(SignIn::new(alice.clone())).await.unwrap();
        let id = issued.session.id;
        shared.application_deletes(&alice).await;
        let (by, reason) = (Actor::operator("root"), EndReason::Revoked);
        let foreign = shared.sessions.revoke(id, Some(&shared.bob()), &by, reason).await.unwrap();
        assert_eq!((foreign, kept(&shared).await), (0, 1), "{at}");
        assert_eq!(shared.sessions.revoke(id, None, &by, reason).await.unwrap(), 1, "{at}");
        assert_eq!(end(&shared, id).await, Ended { at: NOW, by: by.clone(), reason }, "{at}");
        assert_eq!((kept(&shared).await, log(&shared).await), (0, vec![ChangeKind::Ended(id)]), "{at}");
        assert_eq!(shared.sessions.revoke(id, None, &by, reason).await.unwrap(), 0, "{at}");
    }

    pub(super) async fn what_the_application_ended_is_neither_counted_nor_said_to_be_ended_here(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let theirs = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let theirs = shared.live(&theirs).await.id;
        let other = shared.application_signs_in(OTHER, &alice, NOW.plus(30 * DAY)).await;
        let other = shared.live(&other).await.id;
        let ours = shared.sessions.create(SignIn::new(alice.clone())).await.unwrap();
        shared.application_signs_out(UUID).await;
        shared.application_signs_out(OTHER).await;
        let (by, there) = (Actor::operator("root"), (Actor::system("authjs"), EndReason::SignedOut));
        // Alone, and among others.
        assert_eq!(shared.sessions.revoke(other, None, &by, EndReason::Revoked).await.unwrap(), 0, "{at}");
        assert_eq!(kept(&shared).await, 2, "{at}");
        let revoked = shared.sessions.revoke_user(&alice, &by, EndReason::RevokedUser).await.unwrap();
        assert_eq!((revoked.ended, kept(&shared).await), (Some(1), 0), "{at}");
        for id in [theirs, other] {
            let ended = end(&shared, id).await;
            assert_eq!((ended.by, ended.reason), there, "{at}");
        }
        assert_eq!(end(&shared, ours.session.id).await.reason, EndReason::RevokedUser, "{at}");
    }

    pub(super) async fn sweeping_forgets_the_tokens_of_rows_that_are_gone(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let theirs = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let theirs = shared.live(&theirs).await.id;
        shared.sessions.create(SignIn::new(alice.clone())).await.unwrap();
        let bobs = shared.sessions.create(SignIn::new(shared.bob())).await.unwrap();
        shared.application_deletes(&alice).await;
        assert_eq!(kept(&shared).await, 3, "{at}");
        shared.sessions.sweep(|_| {}).await.unwrap();
        assert_eq!(kept(&shared).await, 1, "{at}: bob's");
        assert_eq!(end(&shared, theirs).await.by, Actor::system("authjs"), "{at}");
        shared.live(&bobs.token).await;
    }
}
