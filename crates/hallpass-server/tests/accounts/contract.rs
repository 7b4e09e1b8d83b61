//! What every implementation of `Accounts` must do: accounts, their passwords, secrets and the first account.

use std::collections::BTreeSet;
use std::sync::Arc;

use hallpass_server::accounts::{
    Account, AccountId, Accounts, Adopted, Created, DisplayName, Email, EndReason, FirstCreated, NewAccount,
    ServerSecret,
};
use hallpass_server::password::PasswordHash;
use secrecy::{ExposeSecret as _, SecretString};

pub(crate) const NOW: i64 = 1_700_000_000_123;

pub(crate) fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

pub(crate) fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text.to_owned())
}

pub(crate) fn new(address: &str) -> NewAccount {
    NewAccount {
        email: email(address),
        name: DisplayName::parse("Somebody").unwrap(),
        operator: false,
        password_hash: Some(hash("$argon2id$one")),
    }
}

pub(crate) fn nobody() -> AccountId {
    AccountId::parse("nobody").unwrap()
}

pub(crate) async fn given(accounts: &dyn Accounts, address: &str) -> Account {
    match accounts.create(new(address), NOW).await.unwrap() {
        Created::Account(account) => account,
        Created::Duplicate => panic!("{address} exists"),
    }
}

pub(crate) async fn create_and_find(accounts: Arc<dyn Accounts>) {
    let wanted =
        NewAccount {
            operator: true, name: DisplayName::parse("Zoë <b>Müller</b>").unwrap(), ..new("zoe@example.com")
        };
    let Created::Account(created) = accounts.create(wanted, NOW).await.unwrap() else {
        panic!("duplicate in an empty database");
    };
    for found in [
        accounts.find(&created.id).await.unwrap().unwrap(),
        accounts.find_by_email(&email("ZOE@example.com")).await.unwrap().unwrap(),
        created.clone(),
    ] {
        assert_eq!(found.id, created.id);
        assert_eq!((found.shown_email(), found.email_as_kept.as_deref()), (Some("zoe@example.com"), None));
        assert_eq!(found.name, "Zoë <b>Müller</b>");
        assert!(found.operator);
        assert_eq!(found.disabled_at, None);
        assert_eq!((found.created_at, found.image), (Some(NOW), None));
        assert_eq!(found.credentials_version, 1);
        assert_eq!(found.password_hash.unwrap().expose(), "$argon2id$one");
    }
    assert!(accounts.find(&nobody()).await.unwrap().is_none());
    assert!(accounts.find_by_email(&email("x@example.com")).await.unwrap().is_none());
    assert!(accounts.pending_ends(10).await.unwrap().is_empty());
}

pub(crate) async fn ids_sort_by_creation(accounts: Arc<dyn Accounts>) {
    let created = given(&*accounts, "a@example.com").await;
    let id = uuid::Uuid::parse_str(created.id.as_str()).unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(id.get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
}

pub(crate) async fn text_is_kept_and_compared_byte_for_byte(accounts: Arc<dyn Accounts>) {
    let odd = "\u{1f642} \\ ' \" % _ ? $1 hp.hallpass_ ; --";
    let wanted = NewAccount { name: DisplayName::parse(odd).unwrap(), ..new("o'brien?@ex\u{e4}mple.com") };
    let Created::Account(created) = accounts.create(wanted, NOW).await.unwrap() else { panic!() };
    let found = accounts.find_by_email(created.email.as_ref().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.name.as_str()), (created.id.as_str(), odd));
    for other in [
        created.id.as_str().to_uppercase(),
        format!("{} ", created.id),
        format!("{}%", created.id.as_str().get(..20).unwrap_or_default()),
    ] {
        // An id of digits alone has no upper case.
        if other != created.id.as_str() {
            assert!(accounts.find(&AccountId::parse(&other).unwrap()).await.unwrap().is_none(), "{other:?}");
        }
    }
    assert!(accounts.find_by_email(&email("o'brien?@example.com")).await.unwrap().is_none());
    assert!(AccountId::parse("a\0b").is_none());
}

pub(crate) async fn an_accent_more_is_another_address(accounts: Arc<dyn Accounts>) {
    let plain = given(&*accounts, "a@example.com").await;
    assert_ne!(given(&*accounts, "a@ex\u{e4}mple.com").await.id, plain.id);
}

pub(crate) async fn an_account_may_have_no_password(accounts: Arc<dyn Accounts>) {
    let without = NewAccount { password_hash: None, ..new("a@example.com") };
    let Created::Account(created) = accounts.create(without, NOW).await.unwrap() else { panic!() };
    let found = accounts.find(&created.id).await.unwrap().unwrap();
    assert!(found.password_hash.is_none() && !found.operator);
}

pub(crate) async fn a_duplicate_email_is_an_outcome_and_changes_nothing(accounts: Arc<dyn Accounts>) {
    let first = given(&*accounts, "a@example.com").await;
    let second = NewAccount { operator: true, password_hash: Some(hash("$argon2id$two")), ..new("A@EXAMPLE.com") };
    assert!(matches!(accounts.create(second, NOW + 1).await.unwrap(), Created::Duplicate));
    let found = accounts.find(&first.id).await.unwrap().unwrap();
    assert!(!found.operator);
    assert_eq!(found.password_hash.unwrap().expose(), "$argon2id$one");
    assert_eq!(accounts.count().await.unwrap(), 1);
}

pub(crate) async fn parallel_creations_of_one_email_make_one_account(accounts: Arc<dyn Accounts>) {
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move { accounts.create(new("a@example.com"), NOW).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(matches!(task.await.unwrap(), Created::Account(_)));
    }
    assert_eq!(won, 1);
    assert_eq!(accounts.count().await.unwrap(), 1);
}

pub(crate) async fn list_pages_are_complete_ordered_and_stable(accounts: Arc<dyn Accounts>) {
    let mut ids = Vec::new();
    for n in 0..25 {
        let Created::Account(created) = accounts.create(new(&format!("u{n}@example.com")), NOW + n).await.unwrap()
        else {
            panic!()
        };
        ids.push(created.id);
    }
    assert_eq!(accounts.count().await.unwrap(), 25);
    let mut seen = Vec::new();
    loop {
        let page = accounts.list(seen.last(), 10).await.unwrap();
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|account| account.id));
        // A page's own last row may be gone before the next page is asked for.
        if seen.len() == 10 {
            assert!(accounts.delete(&seen[9], NOW).await.unwrap());
        }
    }
    assert_eq!(seen, ids);
    assert!(accounts.list(None, 0).await.unwrap().is_empty());
}

pub(crate) async fn a09_disabling_leaves_an_end_and_keeps_its_time(accounts: Arc<dyn Accounts>) {
    let account = given(&*accounts, "a@example.com").await;
    let other = given(&*accounts, "b@example.com").await;
    let disabled = accounts.disable(&account.id, NOW + 5).await.unwrap().unwrap();
    assert_eq!(disabled.disabled_at, Some(NOW + 5));
    let again = accounts.disable(&account.id, NOW + 9).await.unwrap().unwrap();
    assert_eq!(again.disabled_at, Some(NOW + 5));
    let pending = accounts.pending_ends(10).await.unwrap();
    assert_eq!(pending.len(), 2);
    assert!(pending.iter().all(|end| end.account == account.id && end.reason == EndReason::UserDisabled));
    assert_eq!(accounts.pending_ends(1).await.unwrap(), pending[..1]);

    let enabled = accounts.enable(&account.id).await.unwrap().unwrap();
    assert_eq!(enabled.disabled_at, None);
    // Enabling takes nothing back: what was to end still ends.
    assert_eq!(accounts.pending_ends(10).await.unwrap().len(), 2);
    assert_eq!(accounts.find(&other.id).await.unwrap().unwrap().disabled_at, None);

    assert!(accounts.disable(&nobody(), NOW).await.unwrap().is_none());
    assert!(accounts.enable(&nobody()).await.unwrap().is_none());
    assert_eq!(accounts.pending_ends(10).await.unwrap().len(), 2);
}

pub(crate) async fn a08_a_new_password_raises_the_version_and_leaves_an_end(accounts: Arc<dyn Accounts>) {
    let account = given(&*accounts, "a@example.com").await;
    let other = given(&*accounts, "b@example.com").await;
    let changed = accounts.set_password(&account.id, hash("$argon2id$two"), NOW).await.unwrap().unwrap();
    assert_eq!(changed.credentials_version, 2);
    assert_eq!(changed.password_hash.unwrap().expose(), "$argon2id$two");
    let pending = accounts.pending_ends(10).await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].account, account.id);
    assert_eq!(pending[0].reason, EndReason::CredentialsChanged);
    let other = accounts.find(&other.id).await.unwrap().unwrap();
    assert_eq!(other.credentials_version, 1);
    assert_eq!(other.password_hash.unwrap().expose(), "$argon2id$one");
    assert!(accounts.set_password(&nobody(), hash("x"), NOW).await.unwrap().is_none());
    assert_eq!(accounts.pending_ends(10).await.unwrap().len(), 1);
}

pub(crate) async fn a_rehash_ends_nothing_and_never_undoes_a_new_password(accounts: Arc<dyn Accounts>) {
    let account = given(&*accounts, "a@example.com").await;
    let (one, two, three) = (hash("$argon2id$one"), hash("$argon2id$two"), hash("$argon2id$three"));
    assert!(accounts.rehash(&account.id, &one, one.clone()).await.unwrap(), "the same is no failure");
    assert!(accounts.rehash(&account.id, &one, two.clone()).await.unwrap());
    let found = accounts.find(&account.id).await.unwrap().unwrap();
    assert_eq!(found.credentials_version, 1);
    assert_eq!(found.password_hash.unwrap().expose(), "$argon2id$two");
    assert!(accounts.pending_ends(10).await.unwrap().is_empty());

    accounts.set_password(&account.id, three, NOW).await.unwrap();
    assert!(!accounts.rehash(&account.id, &two, one.clone()).await.unwrap());
    assert!(!accounts.rehash(&nobody(), &two, one).await.unwrap());
    let found = accounts.find(&account.id).await.unwrap().unwrap();
    assert_eq!(found.password_hash.unwrap().expose(), "$argon2id$three");
}

pub(crate) async fn a09_deleting_leaves_an_end_and_frees_the_email_but_not_the_id(accounts: Arc<dyn Accounts>) {
    let account = given(&*accounts, "a@example.com").await;
    assert!(accounts.delete(&account.id, NOW).await.unwrap());
    assert!(!accounts.delete(&account.id, NOW).await.unwrap());
    assert!(accounts.find(&account.id).await.unwrap().is_none());
    assert!(accounts.find_by_email(&email("a@example.com")).await.unwrap().is_none());
    let pending = accounts.pending_ends(10).await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!((&pending[0].account, pending[0].reason), (&account.id, EndReason::UserDeleted));
    // A write to the deleted account does not bring it back.
    assert!(accounts.set_password(&account.id, hash("x"), NOW).await.unwrap().is_none());
    assert!(accounts.enable(&account.id).await.unwrap().is_none());
    assert_eq!(accounts.count().await.unwrap(), 0);
    assert_ne!(given(&*accounts, "a@example.com").await.id, account.id);

    accounts.end_done(pending[0].number).await.unwrap();
    accounts.end_done(pending[0].number).await.unwrap();
    assert!(accounts.pending_ends(10).await.unwrap().is_empty());
}

pub(crate) async fn a_server_secret_is_made_once(accounts: Arc<dyn Accounts>) {
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move {
                let candidate = SecretString::from(format!("candidate {n}"));
                let secret = accounts.secret_or(ServerSecret::Auth, candidate).await.unwrap();
                secret.expose_secret().to_owned()
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.insert(task.await.unwrap());
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
}

pub(crate) async fn a42_of_parallel_uses_of_the_setup_code_one_wins(accounts: Arc<dyn Accounts>) {
    assert!(accounts.offer_setup([7; 32], NOW + 1_000).await.unwrap());
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let accounts = Arc::clone(&accounts);
            tokio::spawn(async move {
                accounts.create_first([7; 32], new(&format!("u{n}@example.com")), NOW).await.unwrap()
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(matches!(task.await.unwrap(), FirstCreated::Account(_)));
    }
    assert_eq!(won, 1);
    assert_eq!(accounts.count().await.unwrap(), 1);
    assert!(!accounts.setup_is_open([7; 32], NOW).await.unwrap());
}

pub(crate) async fn a_setup_code_must_be_the_offered_one_in_time_and_alone(accounts: Arc<dyn Accounts>) {
    let refused = |hash, now| {
        let accounts = Arc::clone(&accounts);
        async move {
            let outcome = accounts.create_first(hash, new("a@example.com"), now).await.unwrap();
            let open = accounts.setup_is_open(hash, now).await.unwrap();
            !open && matches!(outcome, FirstCreated::Refused)
        }
    };
    assert!(refused([7; 32], NOW).await, "nothing offered");
    assert!(accounts.offer_setup([7; 32], NOW + 1_000).await.unwrap());
    assert!(refused([8; 32], NOW).await, "another code");
    assert!(refused([7; 32], NOW + 1_000).await, "expired");
    assert!(accounts.setup_is_open([7; 32], NOW + 999).await.unwrap());
    assert!(accounts.offer_setup([9; 32], NOW + 1_000).await.unwrap());
    assert!(refused([7; 32], NOW).await, "replaced");
    assert_eq!(accounts.count().await.unwrap(), 0);

    given(&*accounts, "b@example.com").await;
    assert!(refused([9; 32], NOW).await, "accounts exist");
    assert!(!accounts.offer_setup([9; 32], NOW + 1_000).await.unwrap());
    // Not even after the only account was deleted, unless it is offered anew.
    let only = accounts.list(None, 1).await.unwrap().remove(0);
    accounts.delete(&only.id, NOW).await.unwrap();
    assert!(accounts.offer_setup([6; 32], NOW + 1_000).await.unwrap());
    assert!(refused([9; 32], NOW).await, "replaced after the deletion");
}

pub(crate) async fn an_adopted_account_is_as_it_was(accounts: Arc<dyn Accounts>) {
    // From an engine that is known to keep everything.
    let directory = tempfile::tempdir().unwrap();
    let other = hallpass_server::accounts::sqlite::SqliteAccounts::open(&directory.path().join("other.db")).unwrap();
    let Created::Account(plain) =
        other.create(NewAccount { password_hash: None, ..new("plain@example.com") }, NOW).await.unwrap()
    else {
        panic!("duplicate in an empty database")
    };
    let rich = given(&other, "rich@example.com").await;
    other.set_password(&rich.id, hash("$argon2id$two"), NOW).await.unwrap();
    let rich = other.disable(&rich.id, NOW + 7).await.unwrap().unwrap();
    for account in [&plain, &rich] {
        assert_eq!(accounts.adopt(account).await.unwrap(), Adopted::Created);
        assert_eq!(accounts.find(&account.id).await.unwrap().as_ref(), Some(account));
        assert_eq!(accounts.adopt(account).await.unwrap(), Adopted::Present);
    }
    assert_eq!(accounts.count().await.unwrap(), 2);
    assert!(accounts.pending_ends(10).await.unwrap().is_empty(), "no session ends");
    assert!(!accounts.offer_setup([1; 32], i64::MAX).await.unwrap(), "it counts as any other");

    // What changed there changes here.
    let disabled = other.disable(&plain.id, NOW + 8).await.unwrap().unwrap();
    let newer = other.set_password(&rich.id, hash("$argon2id$new"), NOW).await.unwrap().unwrap();
    for account in [&disabled, &newer] {
        assert_eq!(accounts.adopt(account).await.unwrap(), Adopted::Updated);
        assert_eq!(accounts.find(&account.id).await.unwrap().as_ref(), Some(account));
    }
    assert_eq!(accounts.count().await.unwrap(), 2);

    // What was read before those changes undoes none of them.
    for (stale, now) in [(&plain, &disabled), (&rich, &newer)] {
        assert_eq!(accounts.adopt(stale).await.unwrap(), Adopted::Newer);
        assert_eq!(accounts.find(&stale.id).await.unwrap().as_ref(), Some(now));
    }
}

pub(crate) async fn an_adopted_account_never_takes_the_email_of_another(accounts: Arc<dyn Accounts>) {
    let ours = given(&*accounts, "zoe@example.com").await;
    let directory = tempfile::tempdir().unwrap();
    let other = hallpass_server::accounts::sqlite::SqliteAccounts::open(&directory.path().join("other.db")).unwrap();
    let theirs = given(&other, "zoe@example.com").await;
    assert_eq!(accounts.adopt(&theirs).await.unwrap(), Adopted::EmailTaken);
    assert!(accounts.find(&theirs.id).await.unwrap().is_none());
    assert_eq!(accounts.find(&ours.id).await.unwrap(), Some(ours));
    assert_eq!(accounts.count().await.unwrap(), 1);
}
