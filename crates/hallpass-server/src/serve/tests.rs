//! What cannot be timed over a socket: an account that changes in the middle of its own sign-in or is about to lose its sessions, and handlers that fail.

mod account_gate;
mod forwarding;
mod signing_out;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{Request, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::accounts::{
    Account, AccountId, Accounts, AccountsError, Adopted, Created, DisplayName, Email, FirstCreated, NewAccount,
    PendingEnd, ServerSecret,
};
use crate::password::{Password, PasswordHash};
use crate::settings::Sources;

const EMAIL: &str = "alice@example.org";
const PASSWORD: &str = "correct horse battery staple";

/// What happens right after the account was read for the check of its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Disabled,
    NewPassword,
    Deleted,
    /// The database goes away.
    Gone,
    /// It takes questions and answers none.
    Hanging,
    Panic,
}

/// The real accounts, with something happening at the worst moment.
#[derive(Debug)]
struct Meddled {
    real: Arc<dyn Accounts>,
    meanwhile: Mutex<Meanwhile>,
    gone: AtomicBool,
}

#[async_trait]
impl Accounts for Meddled {
    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let found = self.real.find_by_email(email).await?;
        let meanwhile = *self.meanwhile.lock().unwrap();
        if let Some(account) = &found {
            match meanwhile {
                Meanwhile::Nothing | Meanwhile::Hanging => {}
                Meanwhile::Disabled => drop(self.real.disable(&account.id, 1).await?),
                Meanwhile::NewPassword => {
                    let hash = PasswordHash::from_stored("another".to_owned());
                    self.real.set_password(&account.id, hash, 1).await?;
                }
                Meanwhile::Deleted => drop(self.real.delete(&account.id, 1).await?),
                Meanwhile::Gone => self.gone.store(true, Ordering::SeqCst),
                Meanwhile::Panic => panic!("a handler fails"),
            }
        }
        Ok(found)
    }

    async fn adopt(&self, account: &Account) -> Result<Adopted, AccountsError> {
        self.real.adopt(account).await
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        if self.gone.load(Ordering::SeqCst) {
            return Err(AccountsError::Unavailable("pulled out".to_owned()));
        }
        self.real.find(id).await
    }

    async fn create(&self, new: NewAccount, now_ms: i64) -> Result<Created, AccountsError> {
        self.real.create(new, now_ms).await
    }

    async fn list(&self, after: Option<&AccountId>, limit: u16) -> Result<Vec<Account>, AccountsError> {
        self.real.list(after, limit).await
    }

    async fn count(&self) -> Result<u64, AccountsError> {
        self.real.count().await
    }

    async fn disable(&self, id: &AccountId, now_ms: i64) -> Result<Option<Account>, AccountsError> {
        self.real.disable(id, now_ms).await
    }

    async fn enable(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        self.real.enable(id).await
    }

    async fn set_password(
        &self,
        id: &AccountId,
        hash: PasswordHash,
        now_ms: i64,
    ) -> Result<Option<Account>, AccountsError> {
        self.real.set_password(id, hash, now_ms).await
    }

    async fn rehash(&self, id: &AccountId, old: &PasswordHash, new: PasswordHash) -> Result<bool, AccountsError> {
        self.real.rehash(id, old, new).await
    }

    async fn delete(&self, id: &AccountId, now_ms: i64) -> Result<bool, AccountsError> {
        self.real.delete(id, now_ms).await
    }

    async fn pending_ends(&self, limit: u16) -> Result<Vec<PendingEnd>, AccountsError> {
        self.real.pending_ends(limit).await
    }

    async fn end_done(&self, number: i64) -> Result<(), AccountsError> {
        self.real.end_done(number).await
    }

    async fn secret_or(&self, secret: ServerSecret, candidate: SecretString) -> Result<SecretString, AccountsError> {
        self.real.secret_or(secret, candidate).await
    }

    async fn offer_setup(&self, code_hash: [u8; 32], expires_at_ms: i64) -> Result<bool, AccountsError> {
        self.real.offer_setup(code_hash, expires_at_ms).await
    }

    async fn setup_is_open(&self, code_hash: [u8; 32], now_ms: i64) -> Result<bool, AccountsError> {
        self.real.setup_is_open(code_hash, now_ms).await
    }

    async fn create_first(
        &self,
        code_hash: [u8; 32],
        new: NewAccount,
        now_ms: i64,
    ) -> Result<FirstCreated, AccountsError> {
        self.real.create_first(code_hash, new, now_ms).await
    }
}

struct House {
    _directory: tempfile::TempDir,
    engine: Engine,
    meddled: Arc<Meddled>,
    router: Router,
    account: Account,
}

async fn house() -> House {
    house_with(&[]).await
}

/// With these settings in its environment.
async fn house_with(env: &[(&str, &str)]) -> House {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", directory.path().join("hallpass.db").display());
    let (_, flags) = crate::cli::parse(["hallpass", "--database-url", &database].map(Into::into)).unwrap();
    let settings = Settings::resolve(
        &Sources::gather(&flags, env.iter().map(|(name, value)| (name.into(), value.into())), directory.path())
            .unwrap(),
    )
    .unwrap();
    let mut engine = Engine::open(&settings).await.unwrap();
    let meddled = Arc::new(Meddled {
        real: Arc::clone(&engine.accounts),
        meanwhile: Mutex::new(Meanwhile::Nothing),
        gone: AtomicBool::new(false),
    });
    engine.accounts = Arc::clone(&meddled) as Arc<dyn Accounts>;
    let password = Password::new(PASSWORD.to_owned()).unwrap();
    let new = NewAccount {
        email: Email::parse(EMAIL).unwrap(),
        name: DisplayName::parse("Alice").unwrap(),
        operator: false,
        password_hash: Some(engine.passwords.hash(&password).await.unwrap()),
    };
    let Created::Account(account) = meddled.create(new, 1).await.unwrap() else { panic!("created") };
    let site = Arc::new(Site::open(&settings, &engine, "http://127.0.0.1:8080").await.unwrap());
    let router = site::router(&site, &settings, Arc::default()).unwrap();
    House { _directory: directory, engine, meddled, router, account }
}

struct Answer {
    status: StatusCode,
    location: Option<String>,
    cookies: Vec<String>,
    body: Value,
}

impl House {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let cookies = response.headers().get_all(SET_COOKIE).iter();
        let cookies = cookies.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        let status = response.status();
        let location = response.headers().get(LOCATION).map(|location| location.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), 100_000).await.unwrap();
        Answer { status, location, cookies, body: serde_json::from_slice(&body).unwrap_or_default() }
    }

    async fn sign_in(&self) -> Answer {
        let csrf = self.send(Request::get("/api/auth/csrf").body(Body::empty()).unwrap()).await;
        let cookie = csrf.cookies[0].split(';').next().unwrap().to_owned();
        let form = format!("csrfToken={}&email={EMAIL}&password={PASSWORD}", csrf.body["csrfToken"].as_str().unwrap());
        let request = Request::post("/api/auth/callback/credentials")
            .header(COOKIE, cookie)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("x-auth-return-redirect", "1")
            .body(Body::from(form.replace(' ', "+")))
            .unwrap();
        self.send(request).await
    }

    async fn live(&self) -> u64 {
        use crate::session_ends::EndSessions as _;
        self.engine.sessions.count_live(&self.account.id).await.unwrap()
    }
}

#[tokio::test]
async fn a_sign_in_without_meddling_makes_a_session() {
    let house = house().await;
    let answer = house.sign_in().await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, json!({"url": "http://127.0.0.1:8080"})));
    assert!(answer.cookies.iter().any(|cookie| cookie.starts_with("session=hp_")));
    assert_eq!(house.live().await, 1);
}

#[tokio::test]
async fn a08_a09_an_account_that_changes_during_its_sign_in_gets_no_session() {
    for meanwhile in [Meanwhile::Disabled, Meanwhile::NewPassword, Meanwhile::Deleted] {
        let house = house().await;
        *house.meddled.meanwhile.lock().unwrap() = meanwhile;
        let answer = house.sign_in().await;
        assert_eq!(answer.status, StatusCode::OK, "{meanwhile:?}");
        let url = "http://127.0.0.1:8080/signin?error=CredentialsSignin&code=credentials";
        assert_eq!(answer.body, json!({ "url": url }), "{meanwhile:?}");
        assert!(!answer.cookies.iter().any(|cookie| cookie.contains("hp_")), "{meanwhile:?}");
        assert_eq!(house.live().await, 0, "{meanwhile:?}");
    }
}

#[tokio::test]
async fn g8_a_sign_in_that_cannot_be_confirmed_is_503_and_leaves_no_session() {
    let house = house().await;
    *house.meddled.meanwhile.lock().unwrap() = Meanwhile::Gone;
    let answer = house.sign_in().await;
    assert_eq!((answer.status, answer.body), (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "Unavailable"})));
    assert_eq!(answer.cookies, Vec::<String>::new());
    assert_eq!(house.live().await, 0);
}

#[tokio::test]
async fn a_handler_that_panics_is_500_and_the_next_request_is_served() {
    let house = house().await;
    *house.meddled.meanwhile.lock().unwrap() = Meanwhile::Panic;
    let answer = house.sign_in().await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.body, json!({"error": "Internal Server Error"}));
    *house.meddled.meanwhile.lock().unwrap() = Meanwhile::Nothing;
    assert_eq!(house.sign_in().await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_account_costs_one_verification_as_a_known_one_does() {
    let house = house().await;
    let before = house.engine.passwords.verifications();
    house.sign_in().await;
    assert_eq!(house.engine.passwords.verifications() - before, 1);
    house.meddled.delete(&house.account.id, 1).await.unwrap();
    house.sign_in().await;
    assert_eq!(house.engine.passwords.verifications() - before, 2);
}
