//! The tables of applications with Auth.js as accounts: the same contract, on every layout, and what is theirs alone.

use std::sync::Arc;

use hallpass_authjs::Engine;
use hallpass_server::accounts::{
    Account, AccountId, Accounts, Adopted, Created, Email, Identity, Linked, LinkedIdentity, NewAccount, Unlinked,
};
use hallpass_server::settings::{Settings, Sources};

use super::contract::*;
use super::identities::*;

#[path = "../../../hallpass-authjs/tests/common/mod.rs"]
mod common;

use common::Application;

/// An application's database, and the accounts over it.
pub(crate) struct Shared {
    application: Application,
    pub(crate) accounts: Arc<dyn Accounts>,
    /// The layout, `prisma` for example.
    layout: String,
}

/// The settings of a server on that database, with the providers that the tests name.
fn settings(application: &Application) -> Settings {
    let url = match application.engine {
        Engine::Sqlite => format!("authjs+sqlite:{}", application.url),
        _ => format!("authjs+{}", application.url),
    };
    let directory = tempfile::tempdir().unwrap();
    let (_, flags) = hallpass_server::cli::parse(["hallpass", "--database-url", &url].map(Into::into)).unwrap();
    let provider = |id: &str, issuer: &str| {
        [("ISSUER", issuer), ("CLIENT_ID", "c"), ("CLIENT_SECRET", "s")]
            .map(|(name, value)| (format!("HALLPASS_PROVIDERS_{id}_{name}").into(), value.into()))
    };
    let providers = [("CORP", "https://id.example"), ("OTHER", "https://other.example")];
    let environment = providers.into_iter().flat_map(|(id, issuer)| provider(id, issuer));
    Settings::resolve(&Sources::gather(&flags, environment, directory.path()).unwrap()).unwrap()
}

/// The table of accounts at providers, as the adapter's documents say it.
fn accounts_table(layout: &str) -> String {
    let (maker, engine) = layout.split_once('.').unwrap();
    let (text, number, stamp, uuid) = match engine {
        "postgres" => ("text", "SERIAL", "timestamp(3)", "uuid DEFAULT gen_random_uuid()"),
        "sqlite" => ("text", "INTEGER", "datetime", "varchar"),
        _ => ("varchar(191)", "INTEGER", "datetime(3)", "varchar(36) DEFAULT (UUID())"),
    };
    let (name, users) = match maker {
        "pg_adapter" => ("accounts", None),
        "drizzle" => ("account", Some("user")),
        _ => ("Account", Some("User")),
    };
    let user = match (maker, engine) {
        ("pg_adapter", _) => "INTEGER",
        ("kysely", "postgres") => "uuid",
        ("kysely", "mysql") => "varchar(36)",
        ("drizzle", "mysql") => "varchar(255)",
        _ => text,
    };
    let own = match maker {
        "pg_adapter" => format!("id {number} PRIMARY KEY, "),
        "kysely" => format!("\"id\" {uuid} PRIMARY KEY, "),
        "prisma_classic" => format!("\"id\" {text} NOT NULL PRIMARY KEY, "),
        "prisma" => {
            format!("\"createdAt\" {stamp} NOT NULL DEFAULT CURRENT_TIMESTAMP, \"updatedAt\" {stamp} NOT NULL, ")
        }
        _ => String::new(),
    };
    let own =
        if engine == "mysql" { own.replace("DEFAULT CURRENT_TIMESTAMP", "DEFAULT CURRENT_TIMESTAMP(3)") } else { own };
    let keys = users.map_or_else(String::new, |users| {
        format!(
            ", UNIQUE (\"provider\", \"providerAccountId\"), FOREIGN KEY (\"userId\") REFERENCES \"{users}\" (\"id\") ON DELETE CASCADE"
        )
    });
    let collation = match (engine, maker) {
        ("mysql", "prisma" | "prisma_classic") => " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        ("mysql", _) => " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        _ => "",
    };
    let table = format!(
        "CREATE TABLE \"{name}\" ({own}\"userId\" {user} NOT NULL, \"type\" {text} NOT NULL, \"provider\" {text} NOT NULL, \
         \"providerAccountId\" {text} NOT NULL, \"access_token\" {text}, \"expires_at\" integer{keys}){collation}"
    );
    if engine == "mysql" { table.replace('"', "`") } else { table }
}

impl Shared {
    pub(crate) async fn new(layout: &str) -> Self {
        let application = Application::new(layout).await;
        application.run(&accounts_table(layout)).await;
        let accounts = open(&application).await;
        Self { application, accounts, layout: layout.split('.').next().unwrap().to_owned() }
    }

    fn table(&self, of: &str) -> String {
        let name = match (self.layout.as_str(), of) {
            ("pg_adapter", of) => format!("{}s", of.to_lowercase()),
            ("drizzle", of) => of.to_lowercase(),
            (_, of) => of.to_owned(),
        };
        self.application.q(&name)
    }

    /// A user as Auth.js makes one; its id.
    async fn signs_up(&self, email: Option<&str>) -> AccountId {
        let q = |name: &str| self.application.q(name);
        let mut columns = vec![(q("name"), "'Grace'".to_owned()), (q("image"), "'https://img.example/1'".to_owned())];
        if let Some(email) = email {
            columns.push((q("email"), format!("'{email}'")));
        }
        let id = match (self.layout.as_str(), self.application.engine) {
            ("pg_adapter", _) => None,
            ("kysely", _) => Some("0f8fad5b-d9cb-469f-a165-70867728950e"),
            _ => Some("clx0000000000abcdefghijk1"),
        };
        columns.extend(id.map(|id| (q("id"), format!("'{id}'"))));
        if self.layout == "prisma" {
            columns.push((q("updatedAt"), "'2026-01-01 00:00:00'".to_owned()));
        }
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let users = self.table("User");
        self.application
            .run(&format!("INSERT INTO {users} ({}) VALUES ({})", names.join(", "), values.join(", ")))
            .await;
        let ids =
            self.application.texts(&format!("SELECT {} FROM {users} WHERE {} = 'Grace'", q("id"), q("name"))).await;
        AccountId::parse(&ids[0]).unwrap()
    }

    /// An account at a provider, as Auth.js links one.
    async fn links(&self, user: &AccountId, provider: &str, subject: &str) {
        let q = |name: &str| self.application.q(name);
        let user = if self.layout == "pg_adapter" { user.to_string() } else { format!("'{user}'") };
        let mut columns = vec![
            (q("userId"), user),
            (q("type"), "'oidc'".to_owned()),
            (q("provider"), format!("'{provider}'")),
            (q("providerAccountId"), format!("'{subject}'")),
        ];
        match self.layout.as_str() {
            "prisma" => columns.push((q("updatedAt"), "'2026-01-01 00:00:00'".to_owned())),
            "prisma_classic" => columns.push((q("id"), format!("'made-by-prisma-{provider}-{subject}'"))),
            "kysely" if self.application.engine == Engine::Sqlite => {
                columns.push((q("id"), format!("'k-{provider}-{subject}'")));
            }
            _ => {}
        }
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let accounts = self.table("Account");
        let sql = format!("INSERT INTO {accounts} ({}) VALUES ({})", names.join(", "), values.join(", "));
        self.application.run(&sql).await;
    }

    async fn count(&self, of: &str) -> String {
        self.application.texts(&format!("SELECT count(*) FROM {}", self.table(of))).await.remove(0)
    }
}

async fn open(application: &Application) -> Arc<dyn Accounts> {
    let settings = settings(application);
    hallpass_server::engine::open_accounts(&settings.accounts, &settings).await.unwrap()
}

fn at(issuer: &str, subject: &str) -> Identity {
    Identity { issuer: issuer.to_owned(), subject: subject.to_owned() }
}

fn linked(provider: &str, issuer: &str, subject: &str) -> LinkedIdentity {
    LinkedIdentity { identity: at(issuer, subject), provider: provider.to_owned(), email: None, created_at: None }
}

const CORP: &str = "https://id.example";

async fn users_of_the_application_are_accounts(shared: Shared) {
    let accounts = &shared.accounts;
    let grace = shared.signs_up(Some("Grace@Example.org")).await;
    let found = accounts.find(&grace).await.unwrap().unwrap();
    // The application knows it by its own spelling, people by any.
    assert_eq!((found.shown_email(), found.name.as_str()), (Some("Grace@Example.org"), "Grace"));
    assert_eq!(found.email, Some(email("grace@example.org")));
    assert_eq!(found.image.as_deref(), Some("https://img.example/1"));
    assert_eq!((found.operator, found.disabled_at, found.created_at), (false, None, None));
    assert!(found.password_hash.is_none());
    // Auth.js keeps the capitals of an address.
    let by_email = accounts.find_by_email(&email("GRACE@example.org")).await.unwrap();
    assert_eq!(by_email.unwrap().id, grace);
    assert!(matches!(accounts.create(new("grace@example.org"), NOW).await.unwrap(), Created::Duplicate));
    assert!(!accounts.offer_setup([7; 32], NOW + 1).await.unwrap(), "the first account is there");
    assert_eq!(accounts.list(None, 10).await.unwrap(), [found]);
    assert_eq!(accounts.count().await.unwrap(), 1);

    // What hallpass alone knows comes to it, and the application's row stays as it was.
    let changed = accounts.set_password(&grace, hash("$argon2id$two"), NOW).await.unwrap().unwrap();
    assert_eq!((changed.credentials_version, changed.password_hash.unwrap().expose()), (1, "$argon2id$two"));
    assert!(!changed.operator);
    let disabled = accounts.disable(&grace, NOW + 5).await.unwrap().unwrap();
    assert_eq!((disabled.disabled_at, disabled.operator), (Some(NOW + 5), false));
    assert_eq!(accounts.pending_ends(10).await.unwrap().len(), 2);
    let q = |name: &str| shared.application.q(name);
    let users = shared.table("User");
    let rows = shared.application.texts(&format!("SELECT {} FROM {users}", q("email"))).await;
    assert_eq!(rows, ["Grace@Example.org"]);
    // Another process knows the same.
    assert_eq!(open(&shared.application).await.find(&grace).await.unwrap().unwrap().disabled_at, Some(NOW + 5));

    // Nobody copies accounts over them.
    let directory = tempfile::tempdir().unwrap();
    let other = hallpass_server::accounts::sqlite::SqliteAccounts::open(&directory.path().join("other.db")).unwrap();
    let own = given(&other, "own@example.com").await;
    accounts.adopt(&as_if_copied(&own, &grace)).await.unwrap_err();
    assert_eq!(accounts.find(&grace).await.unwrap().unwrap().name, "Grace");
}

fn as_if_copied(account: &Account, id: &AccountId) -> Account {
    let mut account = account.clone();
    (account.id, account.disabled_at, account.credentials_version) = (id.clone(), Some(NOW), 9);
    account
}

async fn a_user_without_an_address_is_one_all_the_same(shared: Shared) {
    let grace = shared.signs_up(None).await;
    let found = shared.accounts.find(&grace).await.unwrap().unwrap();
    assert_eq!((found.email.as_ref(), found.shown_email(), found.known_as()), (None, None, grace.as_str()));
    assert!(shared.accounts.disable(&grace, NOW).await.unwrap().is_some());
    // A password that cannot be typed with an address is no way in.
    shared.links(&grace, "corp", "g-1").await;
    shared.accounts.set_password(&grace, hash("$argon2id$one"), NOW).await.unwrap();
    let unlinked = shared.accounts.unlink(&grace, &at(CORP, "g-1"), &[CORP.to_owned()]).await.unwrap();
    assert_eq!(unlinked, Unlinked::LastWayIn);
}

async fn accounts_at_providers_are_identities(shared: Shared) {
    let accounts = &shared.accounts;
    let grace = shared.signs_up(Some("grace@example.org")).await;
    shared.links(&grace, "corp", "g-1").await;
    // Not one of ours: the application's affair.
    shared.links(&grace, "discord", "g-1").await;
    assert_eq!(accounts.find_by_identity(&at(CORP, "g-1")).await.unwrap().unwrap().id, grace);
    for other in
        [at(CORP, "G-1"), at(CORP, "g-1 "), at("https://other.example", "g-1"), at("https://nobody.example", "g-1")]
    {
        assert!(accounts.find_by_identity(&other).await.unwrap().is_none(), "{other:?}");
    }
    assert_eq!(accounts.identities(&grace).await.unwrap(), [linked("corp", CORP, "g-1")]);

    let hers = linked("other", "https://other.example", "g-2");
    assert_eq!(accounts.link(&grace, &hers).await.unwrap(), Linked::Done);
    let q = |name: &str| shared.application.q(name);
    let table = shared.table("Account");
    let rows = format!("SELECT {} FROM {table} WHERE {} = 'other'", q("providerAccountId"), q("provider"));
    assert_eq!(shared.application.texts(&rows).await, ["g-2"]);
    let kinds = format!("SELECT {} FROM {table} WHERE {} = 'other'", q("type"), q("provider"));
    assert_eq!(shared.application.texts(&kinds).await, ["oidc"]);
    let alice = given(&**accounts, "alice@example.com").await;
    assert_eq!(accounts.link(&alice.id, &hers).await.unwrap(), Linked::OfAnother);

    // What leads to a provider of the application alone is no way in here.
    let issuers = [CORP.to_owned(), "https://other.example".to_owned()];
    assert_eq!(accounts.unlink(&grace, &hers.identity, &issuers).await.unwrap(), Unlinked::Done);
    assert_eq!(accounts.unlink(&grace, &at(CORP, "g-1"), &issuers).await.unwrap(), Unlinked::LastWayIn);
    assert_eq!(shared.count("Account").await, "2");

    let one = linked("corp", CORP, "new");
    let without = NewAccount { password_hash: None, ..new("new@example.com") };
    let Created::Account(created) = accounts.create_with_identity(without.clone(), &one).await.unwrap() else {
        panic!()
    };
    assert_eq!(accounts.find_by_identity(&one.identity).await.unwrap(), Some(created));
    let again = NewAccount { email: Email::parse("newer@example.com").unwrap(), ..without };
    assert!(matches!(accounts.create_with_identity(again, &one).await.unwrap(), Created::Duplicate));
}

async fn a_deleted_user_takes_sessions_and_accounts_along(shared: Shared) {
    let accounts = &shared.accounts;
    let grace = shared.signs_up(Some("grace@example.org")).await;
    shared.links(&grace, "corp", "g-1").await;
    let alice = given(&**accounts, "alice@example.com").await;
    assert_eq!(accounts.link(&alice.id, &linked("corp", CORP, "a-1")).await.unwrap(), Linked::Done);
    let q = |name: &str| shared.application.q(name);
    for (user, token) in [(&grace, "hers"), (&alice.id, "theirs")] {
        let user = if shared.layout == "pg_adapter" { user.to_string() } else { format!("'{user}'") };
        let mut columns = vec![
            (q("userId"), user),
            (q("sessionToken"), format!("'{token}'")),
            (q("expires"), "'2030-01-01 00:00:00'".to_owned()),
        ];
        if !["pg_adapter", "drizzle"].contains(&shared.layout.as_str())
            && (shared.layout != "prisma" || shared.application.engine != Engine::Postgres)
        {
            let id = if token == "hers" {
                "0f8fad5b-d9cb-469f-a165-70867728950f"
            } else {
                "0f8fad5b-d9cb-469f-a165-70867728951f"
            };
            columns.push((q("id"), format!("'{id}'")));
        }
        if shared.layout == "prisma" {
            columns.push((q("updatedAt"), "'2026-01-01 00:00:00'".to_owned()));
        }
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let sessions = shared.table("Session");
        let sql = format!("INSERT INTO {sessions} ({}) VALUES ({})", names.join(", "), values.join(", "));
        shared.application.run(&sql).await;
    }
    accounts.set_password(&grace, hash("$argon2id$two"), NOW).await.unwrap();
    assert!(accounts.delete(&grace, NOW).await.unwrap());
    assert!(!accounts.delete(&grace, NOW).await.unwrap());
    assert!(accounts.find(&grace).await.unwrap().is_none());
    assert_eq!((shared.count("User").await, shared.count("Account").await), ("1".to_owned(), "1".to_owned()));
    let tokens = format!("SELECT {} FROM {}", q("sessionToken"), shared.table("Session"));
    assert_eq!(shared.application.texts(&tokens).await, ["theirs"]);
    assert_eq!(accounts.pending_ends(10).await.unwrap().last().unwrap().account, grace);
    assert_eq!(accounts.adopt(&alice).await.unwrap(), Adopted::Present);
}

/// Their addresses are alike but for capitals, which no key of this layout forbids.
async fn an_address_of_two_users_names_neither(shared: Shared) {
    let first = shared.signs_up(Some("Grace@example.org")).await;
    shared.application.run("INSERT INTO users (name, email) VALUES ('Other', 'GRACE@example.org')").await;
    assert!(shared.accounts.find_by_email(&email("grace@example.org")).await.unwrap().is_none());
    assert!(matches!(shared.accounts.create(new("grace@example.org"), NOW).await.unwrap(), Created::Duplicate));
    assert!(shared.accounts.find(&first).await.unwrap().is_some());
    shared.application.run("DELETE FROM users WHERE name = 'Other'").await;
    assert_eq!(shared.accounts.find_by_email(&email("grace@example.org")).await.unwrap().unwrap().id, first);
    // Whoever comes later with small letters takes nothing over.
    shared.application.run("INSERT INTO users (name, email) VALUES ('Other', 'grace@example.org')").await;
    assert!(shared.accounts.find_by_email(&email("grace@example.org")).await.unwrap().is_none());
    shared.application.run("DELETE FROM users WHERE name = 'Other'").await;
    // Another spelling is another address for the application.
    shared.application.run("INSERT INTO users (name, email) VALUES ('Wide', '\u{ff47}race@example.org')").await;
    assert_eq!(shared.accounts.find_by_email(&email("grace@example.org")).await.unwrap().unwrap().id, first);
    let wide = shared.accounts.list(Some(&first), 10).await.unwrap().pop().unwrap();
    assert_eq!((wide.email.as_ref(), wide.shown_email()), (None, Some("\u{ff47}race@example.org")));
}

/// No key of this layout keeps an identity from being linked twice.
async fn an_identity_of_two_users_signs_in_to_neither(shared: Shared) {
    let accounts = &shared.accounts;
    let alice = given(&**accounts, "alice@example.com").await;
    let grace = shared.signs_up(Some("grace@example.org")).await;
    shared.links(&alice.id, "corp", "same").await;
    shared.links(&grace, "corp", "same").await;
    assert!(accounts.find_by_identity(&at(CORP, "same")).await.unwrap().is_none());
    assert_eq!(accounts.link(&grace, &linked("corp", CORP, "same")).await.unwrap(), Linked::OfAnother);
    // Of hallpass's own links one wins, whatever comes at once.
    for round in 0..10 {
        let one = linked("corp", CORP, &format!("race-{round}"));
        let linking = |id: AccountId| {
            let (accounts, one) = (Arc::clone(accounts), one.clone());
            tokio::spawn(async move { accounts.link(&id, &one).await.unwrap() })
        };
        let (first, second) = tokio::join!(linking(alice.id.clone()), linking(grace.clone()));
        let mut outcomes = [first.unwrap(), second.unwrap()];
        outcomes.sort_by_key(|outcome| *outcome == Linked::OfAnother);
        assert_eq!(outcomes, [Linked::Done, Linked::OfAnother], "round {round}");
    }
}

/// A number that is given again is somebody else's.
#[tokio::test]
async fn what_was_known_of_a_number_does_not_come_to_who_has_it_next() {
    let numbered = |text: String| {
        text.replace("`id` text PRIMARY KEY NOT NULL", "`id` integer PRIMARY KEY NOT NULL")
            .replace("`userId` text", "`userId` integer")
    };
    let again = "INSERT INTO users (name, email) VALUES ('Mallory', 'mallory@example.org')";
    for (application, clear, again) in [
        (
            Application::with_changed("drizzle.sqlite", numbered).await,
            "DELETE FROM user",
            again.replace("users", "user"),
        ),
        (Application::new("pg_adapter.postgres").await, "TRUNCATE users RESTART IDENTITY", again.to_owned()),
    ] {
        let accounts = open(&application).await;
        let boss = NewAccount { operator: true, ..new("boss@example.com") };
        let Created::Account(boss) = accounts.create(boss, NOW).await.unwrap() else { panic!() };
        assert_eq!(boss.id.as_str(), "1");
        assert!(accounts.find(&boss.id).await.unwrap().unwrap().operator);
        accounts.disable(&boss.id, NOW).await.unwrap();
        application.run(clear).await;
        application.run(&again).await;
        let mallory = accounts.find(&boss.id).await.unwrap().unwrap();
        assert_eq!((mallory.shown_email(), mallory.operator), (Some("mallory@example.org"), false));
        assert!(mallory.password_hash.is_none());
        assert!(mallory.disabled_at.is_some(), "nobody gets in by changing an address");
        let changed = accounts.set_password(&boss.id, hash("$argon2id$hers"), NOW).await.unwrap().unwrap();
        assert_eq!((changed.operator, changed.password_hash.unwrap().expose()), (false, "$argon2id$hers"));
        let found = accounts.find_by_email(&email("mallory@example.org")).await.unwrap().unwrap();
        assert_eq!((found.operator, found.password_hash.unwrap().expose()), (false, "$argon2id$hers"));

        // One whom hallpass makes begins anew, too.
        application.run(clear).await;
        let Created::Account(fresh) = accounts.create(new("fresh@example.com"), NOW).await.unwrap() else { panic!() };
        assert_eq!((fresh.id.as_str(), fresh.disabled_at), ("1", None));
        let found = accounts.find(&fresh.id).await.unwrap().unwrap();
        assert_eq!((found.disabled_at, found.operator), (None, false));
    }
}

/// The address is free; what is not is not said to be it.
#[tokio::test]
async fn another_key_of_the_application_is_not_called_the_address() {
    let unique = |text: String| text.replace("\"name\" TEXT,", "\"name\" TEXT UNIQUE,");
    let application = Application::with_changed("prisma_classic.sqlite", unique).await;
    let accounts = open(&application).await;
    given(&*accounts, "a@example.com").await;
    let error = accounts.create(new("b@example.com"), NOW).await.unwrap_err().to_string();
    assert!(error.contains("key of the application"), "{error}");
    assert_eq!(accounts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_column_that_only_the_application_can_fill_is_named() {
    for layout in ["prisma.sqlite", "prisma.postgres", "prisma.mysql"] {
        let add = |text: String| {
            text.replacen("\"image\" TEXT,", "\"image\" TEXT, \"role\" TEXT NOT NULL,", 1).replacen(
                "`image` VARCHAR(191) NULL,",
                "`image` VARCHAR(191) NULL, `role` VARCHAR(191) NOT NULL,",
                1,
            )
        };
        let application = Application::with_changed(layout, add).await;
        application.run(&accounts_table(layout)).await;
        let accounts = open(&application).await;
        let error = accounts.create(new("a@example.com"), NOW).await.unwrap_err().to_string();
        assert!(error.contains("User") && error.contains("column role"), "{layout}: {error}");
        assert_eq!(accounts.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_user_whom_the_application_needs_is_kept_and_the_error_says_so() {
    for layout in ["prisma.sqlite", "prisma.postgres", "prisma.mysql"] {
        let shared = Shared::new(layout).await;
        let grace = shared.signs_up(Some("grace@example.org")).await;
        let (q, text) =
            (|name: &str| shared.application.q(name), if layout.ends_with("mysql") { "VARCHAR(191)" } else { "TEXT" });
        let collation = if layout.ends_with("mysql") { " COLLATE utf8mb4_unicode_ci" } else { "" };
        let posts = format!(
            "CREATE TABLE {} (author {text} NOT NULL, FOREIGN KEY (author) REFERENCES {} (id)){collation}",
            q("Post"),
            q("User")
        );
        shared.application.run(&posts).await;
        shared.application.run(&format!("INSERT INTO {} (author) VALUES ('{grace}')", q("Post"))).await;
        shared.accounts.set_password(&grace, hash("$argon2id$two"), NOW).await.unwrap();
        let error = shared.accounts.delete(&grace, NOW).await.unwrap_err().to_string();
        assert!(error.contains("refers to the user"), "{layout}: {error}");
        // Nothing of it happened.
        let found = shared.accounts.find(&grace).await.unwrap().unwrap();
        assert!(found.password_hash.is_some());
        assert_eq!(shared.accounts.pending_ends(10).await.unwrap().len(), 1, "that of the password");
    }
}

#[tokio::test]
async fn what_is_no_database_of_auth_js_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (id TEXT)").unwrap();
    let url = format!("authjs+sqlite:{}", path.display());
    let (_, flags) = hallpass_server::cli::parse(["hallpass", "--database-url", &url].map(Into::into)).unwrap();
    let settings = Settings::resolve(&Sources::gather(&flags, [], directory.path()).unwrap()).unwrap();
    let error = hallpass_server::engine::open_accounts(&settings.accounts, &settings).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("other.db") && text.contains("sessionToken"), "{text}");
    assert!(!directory.path().join("other.hallpass.db").exists(), "nothing is made beside it");
}

macro_rules! shared {
    ($name:ident, $layout:literal, [$($contract:ident),* $(,)?], [$($test:ident),* $(,)?]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $contract() {
                    let shared = super::Shared::new($layout).await;
                    super::$contract(std::sync::Arc::clone(&shared.accounts)).await;
                }
            )*
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Shared::new($layout).await).await;
                }
            )*
        }
    };
    // Everything that the layout can give.
    ($name:ident, $layout:literal) => {
        shared!(
            $name,
            $layout,
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
                a_first_sign_in_creates_both_or_neither,
                the_last_way_in_stays,
                an_account_has_a_bounded_number_of_identities,
                a_session_s_origin_is_kept_and_found,
                a_logout_finds_the_sessions_it_names,
                a_logout_is_taken_once_and_again_until_it_is_done,
                a_logout_meets_a_sign_in_that_was_under_way,
                a_logout_and_a_sign_in_at_once_never_miss_each_other,
            ],
            [
                users_of_the_application_are_accounts,
                accounts_at_providers_are_identities,
                a_deleted_user_takes_sessions_and_accounts_along,
            ]
        );
    };
    // Where only the tables differ from one that has had everything.
    ($name:ident, $layout:literal, own) => {
        shared!(
            $name,
            $layout,
            [create_and_find, parallel_creations_of_one_email_make_one_account],
            [
                users_of_the_application_are_accounts,
                accounts_at_providers_are_identities,
                a_deleted_user_takes_sessions_and_accounts_along,
            ]
        );
    };
}

shared!(prisma_sqlite, "prisma.sqlite");
shared!(pg_adapter, "pg_adapter.postgres");
shared!(prisma_mariadb, "prisma.mysql");
shared!(kysely_postgres, "kysely.postgres", own);
shared!(prisma_postgres, "prisma.postgres", own);
shared!(prisma_classic_postgres, "prisma_classic.postgres", own);
shared!(prisma_classic_sqlite, "prisma_classic.sqlite", own);
shared!(prisma_classic_mariadb, "prisma_classic.mysql", own);
shared!(drizzle_sqlite, "drizzle.sqlite", own);
shared!(drizzle_postgres, "drizzle.postgres", own);
shared!(drizzle_mariadb, "drizzle.mysql", own);
shared!(kysely_sqlite, "kysely.sqlite", own);
shared!(kysely_mariadb, "kysely.mysql", own);

shared!(
    without_keys,
    "pg_adapter.postgres",
    [],
    [an_address_of_two_users_names_neither, an_identity_of_two_users_signs_in_to_neither]
);

// Only some layouts let an address be missing.
shared!(without_address_sqlite, "prisma.sqlite", [], [a_user_without_an_address_is_one_all_the_same]);
shared!(without_address_postgres, "pg_adapter.postgres", [], [a_user_without_an_address_is_one_all_the_same]);
shared!(without_address_mariadb, "drizzle.mysql", [], [a_user_without_an_address_is_one_all_the_same]);
