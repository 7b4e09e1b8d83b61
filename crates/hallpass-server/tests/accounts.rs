//! What every implementation of `Accounts` must do. An engine joins by one line at the end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

#[path = "databases/mod.rs"]
mod databases;
mod identities;

use std::collections::BTreeSet;
use std::sync::Arc;

use hallpass_server::accounts::{
    Account, AccountId, Accounts, Adopted, Created, DisplayName, Email, EndReason, FirstCreated, NewAccount,
    ServerSecret,
};
use hallpass_server::password::PasswordHash;
use identities::*;
use secrecy::{ExposeSecret as _, SecretString};

const NOW: i64 = 1_700_000_000_123;

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text.to_owned())
}

fn new(address: &str) -> NewAccount {
    NewAccount {
        email: email(address),
        name: DisplayName::parse("Somebody").unwrap(),
        operator: false,
        password_hash: Some(hash("$argon2id$one")),
    }
}

fn nobody() -> AccountId {
    AccountId::parse("nobody").unwrap()
}

async fn given(accounts: &dyn Accounts, address: &str) -> Account {
    match accounts.create(new(address), NOW).await.unwrap() {
        Created::Account(account) => account,
        Created::Duplicate => panic!("{address} exists"),
    }
}

async fn create_and_find(accounts: Arc<dyn Accounts>) {
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
        assert_eq!(found.email.as_str(), "zoe@example.com");
        assert_eq!(found.name, "Zoë <b>Müller</b>");
        assert!(found.operator);
        assert_eq!(found.disabled_at, None);
        assert_eq!(found.created_at, NOW);
        assert_eq!(found.credentials_version, 1);
        assert_eq!(found.password_hash.unwrap().expose(), "$argon2id$one");
    }
    let id = uuid::Uuid::parse_str(created.id.as_str()).unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(id.get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));

    assert!(accounts.find(&nobody()).await.unwrap().is_none());
    assert!(accounts.find_by_email(&email("x@example.com")).await.unwrap().is_none());
    assert!(accounts.pending_ends(10).await.unwrap().is_empty());
}

async fn text_is_kept_and_compared_byte_for_byte(accounts: Arc<dyn Accounts>) {
    let odd = "\u{1f642} \\ ' \" % _ ? $1 hp.hallpass_ ; --";
    let wanted = NewAccount { name: DisplayName::parse(odd).unwrap(), ..new("o'brien?@ex\u{e4}mple.com") };
    let Created::Account(created) = accounts.create(wanted, NOW).await.unwrap() else { panic!() };
    let found = accounts.find_by_email(&created.email).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.name.as_str()), (created.id.as_str(), odd));
    for other in
        [created.id.as_str().to_uppercase(), format!("{} ", created.id), format!("{}%", &created.id.as_str()[..20])]
    {
        // An id of digits alone has no upper case.
        if other != created.id.as_str() {
            assert!(accounts.find(&AccountId::parse(&other).unwrap()).await.unwrap().is_none(), "{other:?}");
        }
    }
    // An accent more is another address.
    assert!(accounts.find_by_email(&email("o'brien?@example.com")).await.unwrap().is_none());
    assert!(matches!(accounts.create(new("o'brien?@example.com"), NOW).await.unwrap(), Created::Account(_)));
    assert!(AccountId::parse("a\0b").is_none());
}

async fn an_account_may_have_no_password(accounts: Arc<dyn Accounts>) {
    let without = NewAccount { password_hash: None, ..new("a@example.com") };
    let Created::Account(created) = accounts.create(without, NOW).await.unwrap() else { panic!() };
    let found = accounts.find(&created.id).await.unwrap().unwrap();
    assert!(found.password_hash.is_none() && !found.operator);
}

async fn a_duplicate_email_is_an_outcome_and_changes_nothing(accounts: Arc<dyn Accounts>) {
    let first = given(&*accounts, "a@example.com").await;
    let second = NewAccount { operator: true, password_hash: Some(hash("$argon2id$two")), ..new("A@EXAMPLE.com") };
    assert!(matches!(accounts.create(second, NOW + 1).await.unwrap(), Created::Duplicate));
    let found = accounts.find(&first.id).await.unwrap().unwrap();
    assert!(!found.operator);
    assert_eq!(found.password_hash.unwrap().expose(), "$argon2id$one");
    assert_eq!(accounts.count().await.unwrap(), 1);
}

async fn parallel_creations_of_one_email_make_one_account(accounts: Arc<dyn Accounts>) {
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

async fn list_pages_are_complete_ordered_and_stable(accounts: Arc<dyn Accounts>) {
    let mut ids = BTreeSet::new();
    for n in 0..25 {
        let Created::Account(created) = accounts.create(new(&format!("u{n}@example.com")), NOW + n).await.unwrap()
        else {
            panic!()
        };
        ids.insert(created.id);
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
    assert_eq!(seen, ids.into_iter().collect::<Vec<_>>());
    assert!(accounts.list(None, 0).await.unwrap().is_empty());
}

async fn a09_disabling_leaves_an_end_and_keeps_its_time(accounts: Arc<dyn Accounts>) {
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

async fn a08_a_new_password_raises_the_version_and_leaves_an_end(accounts: Arc<dyn Accounts>) {
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

async fn a_rehash_ends_nothing_and_never_undoes_a_new_password(accounts: Arc<dyn Accounts>) {
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

async fn a09_deleting_leaves_an_end_and_frees_the_email_but_not_the_id(accounts: Arc<dyn Accounts>) {
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

async fn a_server_secret_is_made_once(accounts: Arc<dyn Accounts>) {
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

async fn a42_of_parallel_uses_of_the_setup_code_one_wins(accounts: Arc<dyn Accounts>) {
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

async fn a_setup_code_must_be_the_offered_one_in_time_and_alone(accounts: Arc<dyn Accounts>) {
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

async fn an_adopted_account_is_as_it_was(accounts: Arc<dyn Accounts>) {
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

async fn an_adopted_account_never_takes_the_email_of_another(accounts: Arc<dyn Accounts>) {
    let ours = given(&*accounts, "zoe@example.com").await;
    let directory = tempfile::tempdir().unwrap();
    let other = hallpass_server::accounts::sqlite::SqliteAccounts::open(&directory.path().join("other.db")).unwrap();
    let theirs = given(&other, "zoe@example.com").await;
    assert_eq!(accounts.adopt(&theirs).await.unwrap(), Adopted::EmailTaken);
    assert!(accounts.find(&theirs.id).await.unwrap().is_none());
    assert_eq!(accounts.find(&ours.id).await.unwrap(), Some(ours));
    assert_eq!(accounts.count().await.unwrap(), 1);
}

macro_rules! engine {
    ($engine:ident, $given:expr, [$($test:ident),* $(,)?]) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let (_kept, accounts) = $given;
                    super::$test(accounts).await;
                }
            )*
        }
    };
}

macro_rules! conformance {
    ($engine:ident, $given:expr) => {
        engine!(
            $engine,
            $given,
            [
                create_and_find,
                text_is_kept_and_compared_byte_for_byte,
                an_account_may_have_no_password,
                a_duplicate_email_is_an_outcome_and_changes_nothing,
                parallel_creations_of_one_email_make_one_account,
                list_pages_are_complete_ordered_and_stable,
                a09_disabling_leaves_an_end_and_keeps_its_time,
                a08_a_new_password_raises_the_version_and_leaves_an_end,
                a_rehash_ends_nothing_and_never_undoes_a_new_password,
                a09_deleting_leaves_an_end_and_frees_the_email_but_not_the_id,
                a_server_secret_is_made_once,
                a42_of_parallel_uses_of_the_setup_code_one_wins,
                a_setup_code_must_be_the_offered_one_in_time_and_alone,
                an_adopted_account_is_as_it_was,
                an_adopted_account_never_takes_the_email_of_another,
                an_identity_signs_in_to_the_account_it_is_linked_to,
                two_pairs_of_issuer_and_subject_are_never_one,
                a_first_sign_in_creates_both_or_neither,
                the_last_way_in_stays,
                an_account_has_a_bounded_number_of_identities,
                a_session_s_origin_is_kept_and_found,
                a_logout_finds_the_sessions_it_names,
                a_logout_is_taken_once_and_again_until_it_is_done,
                a_logout_meets_a_sign_in_that_was_under_way,
                identities_move_with_their_accounts,
                a_logout_and_a_sign_in_at_once_never_miss_each_other,
            ]
        );
    };
}

conformance!(sqlite, {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let accounts: std::sync::Arc<dyn hallpass_server::accounts::Accounts> =
        std::sync::Arc::new(hallpass_server::accounts::sqlite::SqliteAccounts::open(&path).unwrap());
    (directory, accounts)
});

conformance!(postgres, {
    let url = crate::databases::fresh_postgres();
    let accounts = hallpass_server::accounts::postgres::connect(&url).await.unwrap();
    ((), std::sync::Arc::new(accounts) as std::sync::Arc<dyn hallpass_server::accounts::Accounts>)
});

/// Behind `PgBouncer` in transaction mode, where each transaction may have another connection of the server.
mod pooled {
    use std::sync::OnceLock;

    use crate::databases::instance::Instance;

    /// One for all tests; it ends with this process.
    static POOLER: OnceLock<Instance> = OnceLock::new();

    pub(crate) fn fresh() -> String {
        let server = crate::databases::service(crate::databases::POSTGRES);
        let pooler = POOLER.get_or_init(|| Instance::start("pgbouncer", &["--postgres", &server]));
        crate::databases::with_parameter(&pooler.url, &format!("schema={}", crate::databases::fresh_name()))
    }
}

conformance!(pgbouncer, {
    let accounts = hallpass_server::accounts::postgres::connect(&crate::pooled::fresh()).await.unwrap();
    ((), std::sync::Arc::new(accounts) as std::sync::Arc<dyn hallpass_server::accounts::Accounts>)
});

conformance!(mariadb, {
    let url = crate::databases::fresh_mariadb().await;
    let accounts = hallpass_server::accounts::mysql::connect(&url).await.unwrap();
    ((), std::sync::Arc::new(accounts) as std::sync::Arc<dyn hallpass_server::accounts::Accounts>)
});
