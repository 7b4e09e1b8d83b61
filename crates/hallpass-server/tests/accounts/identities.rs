//! Identities, the origin of sessions and logouts of providers: what every engine must do.

use std::sync::Arc;

use hallpass_server::accounts::{
    Accepted, Accounts, Created, Identity, Linked, LinkedIdentity, Logout, MARK_MS, MAX_IDENTITIES, NewAccount, Noted,
    ProviderSession, Unlinked,
};

use super::contract::{NOW, given, hash, new, nobody};

const ISSUER: &str = "https://id.example";

fn identity(issuer: &str, subject: &str) -> LinkedIdentity {
    LinkedIdentity {
        identity: Identity { issuer: issuer.to_owned(), subject: subject.to_owned() },
        provider: "corp".to_owned(),
        email: Some("a@id.example".to_owned()),
        created_at: Some(NOW),
    }
}

fn without_password(address: &str) -> NewAccount {
    NewAccount { password_hash: None, ..new(address) }
}

pub(crate) async fn an_identity_signs_in_to_the_account_it_is_linked_to(accounts: Arc<dyn Accounts>) {
    let alice = given(&*accounts, "alice@example.com").await;
    let bob = given(&*accounts, "bob@example.com").await;
    let hers = identity(ISSUER, "Alice ? ' 1");
    assert_eq!(accounts.link(&alice.id, &hers).await.unwrap(), Linked::Done);
    assert_eq!(accounts.link(&alice.id, &hers).await.unwrap(), Linked::Done);
    assert_eq!(accounts.link(&bob.id, &hers).await.unwrap(), Linked::OfAnother);
    assert_eq!(accounts.find_by_identity(&hers.identity).await.unwrap().unwrap().id, alice.id);
    assert_eq!(accounts.identities(&alice.id).await.unwrap(), std::slice::from_ref(&hers));
    assert!(accounts.identities(&bob.id).await.unwrap().is_empty());
    assert_eq!(accounts.link(&nobody(), &identity(ISSUER, "x")).await.unwrap(), Linked::NoAccount);
    // A deleted account leaves its identities to whoever comes next.
    accounts.delete(&alice.id, NOW).await.unwrap();
    assert!(accounts.find_by_identity(&hers.identity).await.unwrap().is_none());
    let carol = given(&*accounts, "carol@example.com").await;
    assert_eq!(accounts.link(&carol.id, &hers).await.unwrap(), Linked::Done);
}

/// ASVS 5.0, 6.8.1 and 10.5.2.
pub(crate) async fn two_pairs_of_issuer_and_subject_are_never_one(accounts: Arc<dyn Accounts>) {
    let alice = given(&*accounts, "alice@example.com").await;
    let pairs =
        [("https://a", "b/c"), ("https://a/b", "c"), ("https://A", "b/c"), ("https://a", "B/c"), ("https://a", "b/c ")];
    accounts.link(&alice.id, &identity(pairs[0].0, pairs[0].1)).await.unwrap();
    for (issuer, subject) in &pairs[1..] {
        let other = identity(issuer, subject);
        assert!(accounts.find_by_identity(&other.identity).await.unwrap().is_none(), "{issuer} {subject}");
        assert_eq!(accounts.link(&alice.id, &other).await.unwrap(), Linked::Done);
    }
    assert_eq!(accounts.identities(&alice.id).await.unwrap().len(), pairs.len());
}

pub(crate) async fn a_first_sign_in_creates_both_or_neither(accounts: Arc<dyn Accounts>) {
    let alice = given(&*accounts, "alice@example.com").await;
    let first = identity(ISSUER, "1");
    // An address that somebody has is never taken over.
    let taken = accounts.create_with_identity(without_password("Alice@example.com"), &first).await.unwrap();
    assert!(matches!(taken, Created::Duplicate));
    assert!(accounts.find_by_identity(&first.identity).await.unwrap().is_none());
    assert!(accounts.identities(&alice.id).await.unwrap().is_empty());
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let (accounts, first) = (Arc::clone(&accounts), first.clone());
            let new = without_password(&format!("u{n}@example.com"));
            tokio::spawn(async move { accounts.create_with_identity(new, &first).await.unwrap() })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        if let Created::Account(account) = task.await.unwrap() {
            made.push(account);
        }
    }
    assert_eq!((made.len(), accounts.count().await.unwrap()), (1, 2));
    assert_eq!(accounts.find_by_identity(&first.identity).await.unwrap().as_ref(), made.first());
}

pub(crate) async fn the_last_way_in_stays(accounts: Arc<dyn Accounts>) {
    let issuers = [ISSUER.to_owned(), "https://other.example".to_owned()];
    let (one, two) = (identity(ISSUER, "1"), identity("https://other.example", "2"));
    let Created::Account(alice) =
        accounts.create_with_identity(without_password("alice@example.com"), &one).await.unwrap()
    else {
        panic!("duplicate in an empty database")
    };
    let unlink = |who: &LinkedIdentity, issuers: &[String]| {
        let (accounts, id, who, issuers) =
            (Arc::clone(&accounts), alice.id.clone(), who.identity.clone(), issuers.to_vec());
        async move { accounts.unlink(&id, &who, &issuers).await.unwrap() }
    };
    assert_eq!(unlink(&two, &issuers).await, Unlinked::NotLinked);
    assert_eq!(unlink(&one, &issuers).await, Unlinked::LastWayIn);
    accounts.link(&alice.id, &two).await.unwrap();
    // One whose provider is not configured any more lets nobody in.
    assert_eq!(unlink(&one, &issuers[..1]).await, Unlinked::LastWayIn);
    // Of two at once one stays.
    let (first, second) = tokio::join!(tokio::spawn(unlink(&one, &issuers)), tokio::spawn(unlink(&two, &issuers)));
    let mut outcomes = [first.unwrap(), second.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == Unlinked::Done);
    assert_eq!(outcomes, [Unlinked::LastWayIn, Unlinked::Done]);
    let left = accounts.identities(&alice.id).await.unwrap();
    assert_eq!(left.len(), 1);
    // With a password the account needs none.
    accounts.set_password(&alice.id, hash("$argon2id$one"), NOW).await.unwrap();
    let bob = given(&*accounts, "bob@example.com").await;
    assert_eq!(accounts.unlink(&bob.id, &left[0].identity, &issuers).await.unwrap(), Unlinked::NotLinked);
    assert_eq!(unlink(&left[0], &issuers).await, Unlinked::Done);
    assert!(accounts.identities(&alice.id).await.unwrap().is_empty());
}

pub(crate) async fn an_account_has_a_bounded_number_of_identities(accounts: Arc<dyn Accounts>) {
    let alice = given(&*accounts, "alice@example.com").await;
    for n in 0..MAX_IDENTITIES {
        assert_eq!(accounts.link(&alice.id, &identity(ISSUER, &n.to_string())).await.unwrap(), Linked::Done);
    }
    assert_eq!(accounts.link(&alice.id, &identity(ISSUER, "more")).await.unwrap(), Linked::TooMany);
}

fn session(id: &str, subject: &str, sid: Option<&str>) -> ProviderSession {
    ProviderSession {
        session: id.to_owned(),
        provider: "corp".to_owned(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        sid: sid.map(str::to_owned),
        acr: Some("urn:x".to_owned()),
        auth_time: Some(1_700_000_000),
        created_at: NOW,
    }
}

fn logout(jti: u8, subject: Option<&str>, sid: Option<&str>) -> Logout {
    Logout {
        issuer: ISSUER.to_owned(),
        jti_hash: [jti; 32],
        subject: subject.map(str::to_owned),
        sid: sid.map(str::to_owned),
        issued_at: 1_700_000_000,
        received_at: NOW,
    }
}

pub(crate) async fn a_session_s_origin_is_kept_and_found(accounts: Arc<dyn Accounts>) {
    let plain = ProviderSession { acr: None, auth_time: None, ..session("s1", "alice", None) };
    let rich = session("s2", "alice", Some("sid-1"));
    for each in [&plain, &rich] {
        assert_eq!(accounts.note_provider_session(each, 0).await.unwrap(), Noted::Live);
        assert_eq!(accounts.provider_session(&each.session).await.unwrap().as_ref(), Some(each));
    }
    assert_eq!(accounts.provider_sessions(None, 10).await.unwrap(), [plain.clone(), rich.clone()]);
    assert_eq!(accounts.provider_sessions(Some("s1"), 10).await.unwrap(), [rich]);
    // Signed in anew: what holds is the new origin.
    let again = session("s1", "bob", Some("sid-2"));
    assert_eq!(accounts.note_provider_session(&again, 0).await.unwrap(), Noted::Live);
    assert_eq!(accounts.provider_session("s1").await.unwrap(), Some(again));
    accounts.forget_provider_session("s1").await.unwrap();
    accounts.forget_provider_session("s1").await.unwrap();
    assert_eq!(accounts.provider_session("s1").await.unwrap(), None);
}

pub(crate) async fn a_logout_finds_the_sessions_it_names(accounts: Arc<dyn Accounts>) {
    for (id, subject, sid) in
        [("s1", "alice", Some("one")), ("s2", "alice", Some("two")), ("s3", "bob", Some("one")), ("s4", "alice", None)]
    {
        accounts.note_provider_session(&session(id, subject, sid), 0).await.unwrap();
    }
    let other = ProviderSession { issuer: "https://other.example".to_owned(), ..session("s5", "alice", Some("one")) };
    accounts.note_provider_session(&other, 0).await.unwrap();
    let found = |subject, sid| {
        let accounts = Arc::clone(&accounts);
        async move { accounts.sessions_of_logout(&logout(1, subject, sid), None, 10).await.unwrap() }
    };
    assert_eq!(found(Some("alice"), None).await, ["s1", "s2", "s4"]);
    assert_eq!(found(None, Some("one")).await, ["s1", "s3"]);
    assert_eq!(found(Some("alice"), Some("one")).await, ["s1"]);
    assert!(found(Some("carol"), None).await.is_empty());
    assert!(found(None, None).await.is_empty());
    let page = accounts.sessions_of_logout(&logout(1, Some("alice"), None), Some("s1"), 1).await.unwrap();
    assert_eq!(page, ["s2"]);
}

pub(crate) async fn a_logout_is_taken_once_and_again_until_it_is_done(accounts: Arc<dyn Accounts>) {
    let one = logout(1, Some("alice"), Some("one"));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (accounts, one) = (Arc::clone(&accounts), one.clone());
            tokio::spawn(async move { accounts.accept_logout(&one).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Accepted::ToDo);
    }
    assert_eq!(accounts.unfinished_logouts(10).await.unwrap(), std::slice::from_ref(&one));
    accounts.logout_done(&one).await.unwrap();
    assert_eq!(accounts.accept_logout(&one).await.unwrap(), Accepted::Replayed);
    assert!(accounts.unfinished_logouts(10).await.unwrap().is_empty());
    // Another issuer may use the same number.
    let other = Logout { issuer: "https://other.example".to_owned(), subject: None, ..one.clone() };
    assert_eq!(accounts.accept_logout(&other).await.unwrap(), Accepted::ToDo);
    // What is not done is not forgotten.
    assert_eq!(accounts.forget_logouts(NOW).await.unwrap(), 0);
    assert_eq!(accounts.forget_logouts(NOW + 1).await.unwrap(), 1);
    assert_eq!(accounts.unfinished_logouts(10).await.unwrap(), [other]);
}

pub(crate) async fn a_logout_meets_a_sign_in_that_was_under_way(accounts: Arc<dyn Accounts>) {
    // Issued at 1,700,000,000 and received at NOW.
    accounts.accept_logout(&logout(1, None, Some("one"))).await.unwrap();
    accounts.accept_logout(&logout(2, Some("carol"), None)).await.unwrap();
    accounts.accept_logout(&logout(3, Some("dave"), Some("three"))).await.unwrap();
    let note = |subject, sid, at, created_at| {
        let noted = ProviderSession { created_at, ..session("s1", subject, sid) };
        let accounts = Arc::clone(&accounts);
        async move { accounts.note_provider_session(&noted, at).await.unwrap() }
    };
    const AT: i64 = 1_700_000_000;
    assert_eq!(note("alice", Some("one"), AT, NOW).await, Noted::LoggedOut);
    assert_eq!(note("carol", Some("two"), AT, NOW).await, Noted::LoggedOut);
    assert_eq!(note("carol", None, AT, NOW).await, Noted::LoggedOut);
    assert_eq!(note("dave", Some("three"), AT, NOW).await, Noted::LoggedOut);
    // Of both, both must match.
    assert_eq!(note("dave", Some("four"), AT, NOW).await, Noted::Live);
    assert_eq!(note("erin", Some("three"), AT, NOW).await, Noted::Live);
    assert_eq!(note("alice", Some("two"), AT, NOW).await, Noted::Live);
    assert_eq!(note("alice", None, AT, NOW).await, Noted::Live);
    // Authenticated after the logout, and long after it.
    assert_eq!(note("alice", Some("one"), AT + 1, NOW).await, Noted::Live);
    assert_eq!(note("alice", Some("one"), AT, NOW + MARK_MS).await, Noted::LoggedOut);
    assert_eq!(note("alice", Some("one"), AT, NOW + MARK_MS + 1).await, Noted::Live);
}

pub(crate) async fn a_logout_and_a_sign_in_at_once_never_miss_each_other(accounts: Arc<dyn Accounts>) {
    for n in 0..40_u8 {
        let sid = format!("sid-{n}");
        let (noting, logging_out) = (Arc::clone(&accounts), Arc::clone(&accounts));
        let noted = session(&format!("s{n}"), "alice", Some(&sid));
        let out = logout(n, None, Some(&sid));
        let noting = tokio::spawn(async move { noting.note_provider_session(&noted, 0).await.unwrap() });
        let logging_out = tokio::spawn(async move {
            logging_out.accept_logout(&out).await.unwrap();
            logging_out.sessions_of_logout(&out, None, 10).await.unwrap()
        });
        let (noted, found) = (noting.await.unwrap(), logging_out.await.unwrap());
        assert!(noted == Noted::LoggedOut || !found.is_empty(), "round {n}: each missed the other");
    }
}

pub(crate) async fn identities_move_with_their_accounts(accounts: Arc<dyn Accounts>) {
    use hallpass_server::accounts::{copy, sqlite::SqliteAccounts};
    let directory = tempfile::tempdir().unwrap();
    let other = SqliteAccounts::open(&directory.path().join("other.db")).unwrap();
    let alice = given(&other, "alice@example.com").await;
    let (one, two) = (identity(ISSUER, "1"), identity(ISSUER, "2"));
    {
        use hallpass_server::accounts::Identities as _;
        other.link(&alice.id, &one).await.unwrap();
        copy::copy(&other, &*accounts, &mut |_| {}).await.unwrap();
        assert_eq!(accounts.identities(&alice.id).await.unwrap(), std::slice::from_ref(&one));
        // What changed there changes here.
        other.link(&alice.id, &two).await.unwrap();
        other.unlink(&alice.id, &one.identity, &[]).await.unwrap();
    }
    assert_eq!(copy::differing(&other, &*accounts).await.unwrap(), 1);
    copy::copy(&other, &*accounts, &mut |_| {}).await.unwrap();
    assert_eq!(accounts.identities(&alice.id).await.unwrap(), [two]);
    assert_eq!(copy::differing(&other, &*accounts).await.unwrap(), 0);
}
