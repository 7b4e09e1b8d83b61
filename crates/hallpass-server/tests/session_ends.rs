//! A08, A09: after an account changed its sessions end, whatever fails in between.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hallpass_server::accounts::sqlite::SqliteAccounts;
use hallpass_server::accounts::{AccountId, Accounts, Created, DisplayName, Email, EndReason, NewAccount};
use hallpass_server::session_ends::{EndFailed, EndSessions, FinishError, finish};

const NOW: i64 = 1_700_000_000_000;

/// Ends sessions, except for a number of failures first.
#[derive(Debug, Default)]
struct Sessions {
    failures: AtomicUsize,
    ended: Mutex<Vec<(AccountId, EndReason)>>,
}

#[async_trait]
impl EndSessions for Sessions {
    async fn end_all(&self, account: &AccountId, reason: EndReason) -> Result<u64, EndFailed> {
        let failing = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(EndFailed("the session store is unavailable".to_owned()));
        }
        self.ended.lock().unwrap().push((account.clone(), reason));
        Ok(2)
    }

    async fn count_live(&self, _account: &AccountId) -> Result<u64, EndFailed> {
        Ok(2)
    }
}

fn given() -> (tempfile::TempDir, SqliteAccounts) {
    let directory = tempfile::tempdir().unwrap();
    let accounts = SqliteAccounts::open(&directory.path().join("hallpass.db")).unwrap();
    (directory, accounts)
}

async fn account(accounts: &dyn Accounts, email: &str) -> AccountId {
    let new = NewAccount {
        email: Email::parse(email).unwrap(),
        name: DisplayName::parse("Somebody").unwrap(),
        operator: false,
        password_hash: None,
    };
    let Created::Account(account) = accounts.create(new, NOW).await.unwrap() else { panic!() };
    account.id
}

#[tokio::test]
async fn a09_a_failure_midway_is_finished_later() {
    let (_directory, accounts) = given();
    let id = account(&accounts, "a@example.com").await;
    let sessions = Sessions { failures: AtomicUsize::new(1), ..Sessions::default() };

    accounts.disable(&id, NOW).await.unwrap();
    let error = finish(&accounts, &sessions).await.unwrap_err();
    assert!(matches!(&error, FinishError::Sessions { account, .. } if *account == id), "{error}");
    assert!(sessions.ended.lock().unwrap().is_empty());
    assert_eq!(accounts.pending_ends(10).await.unwrap().len(), 1);

    assert_eq!(finish(&accounts, &sessions).await.unwrap(), 2);
    assert_eq!(*sessions.ended.lock().unwrap(), [(id, EndReason::UserDisabled)]);
    assert!(accounts.pending_ends(10).await.unwrap().is_empty());
    assert_eq!(finish(&accounts, &sessions).await.unwrap(), 0);
}

#[tokio::test]
async fn a08_every_pending_change_is_worked_off_in_order() {
    let (_directory, accounts) = given();
    let sessions = Sessions::default();
    let mut wanted = Vec::new();
    for n in 0..120 {
        let id = account(&accounts, &format!("u{n}@example.com")).await;
        accounts.delete(&id, NOW).await.unwrap();
        wanted.push((id, EndReason::UserDeleted));
    }
    assert_eq!(finish(&accounts, &sessions).await.unwrap(), 240);
    assert_eq!(*sessions.ended.lock().unwrap(), wanted);
}
