#![doc = include_str!("../README.md")]

pub use hallpass_core::*;

/// The embedded default store.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use hallpass_sqlite::*;
}

/// The store on PostgreSQL (feature `postgres`).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use hallpass::Sessions;
/// use hallpass::postgres::{PostgresOptions, PostgresStore};
///
/// let url = "postgres://hallpass:password@db.example/app?sslmode=verify-full";
/// let store = PostgresStore::connect(url, PostgresOptions::default()).await?;
/// let sessions = Sessions::builder(Arc::new(store)).build()?;
/// # drop(sessions);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "postgres")]
pub mod postgres {
    pub use hallpass_postgres::*;
}

/// The store on MariaDB or MySQL (feature `mysql`).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use hallpass::Sessions;
/// use hallpass::mysql::{MysqlOptions, MysqlStore};
///
/// let url = "mysql://hallpass:password@db.example/app?ssl-mode=VERIFY_IDENTITY";
/// let store = MysqlStore::connect(url, MysqlOptions::default()).await?;
/// let sessions = Sessions::builder(Arc::new(store)).build()?;
/// # drop(sessions);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "mysql")]
pub mod mysql {
    pub use hallpass_mysql::*;
}

/// The store on Redis or Valkey, one server or a Cluster (feature `redis`).
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use hallpass::Sessions;
/// use hallpass::redis::{RedisOptions, RedisStore};
///
/// let url = "redis+cluster://:password@10.0.0.1:7000,10.0.0.2:7000";
/// let store = RedisStore::open(url, RedisOptions::default()).await?;
/// let sessions = Sessions::builder(Arc::new(store)).build()?;
/// # drop(sessions);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "redis")]
pub mod redis {
    pub use hallpass_redis::*;
}

/// The store on the database of an application that uses Auth.js (feature `authjs`), so that both accept, list and end the same sessions.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use hallpass::authjs::{AuthjsOptions, AuthjsStore};
/// use hallpass::{Class, Policies, Sessions};
///
/// let options = AuthjsOptions::of(Policies::default().of(&Class::WEB));
/// let store = AuthjsStore::connect_postgres("postgres://app:password@db.example/app", options).await?;
/// let sessions = Sessions::builder(Arc::new(store)).build()?;
/// # drop(sessions);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "authjs")]
pub mod authjs {
    pub use hallpass_authjs::*;
}

/// The tower layer, the axum extractors and the session manager page.
#[cfg(feature = "axum")]
pub mod axum {
    pub use hallpass_axum::*;
}
