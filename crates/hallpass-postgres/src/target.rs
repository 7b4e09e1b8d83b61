//! Where the database is and how to use it: the URL, and the options where it says nothing.

use std::fmt;
use std::time::Duration;

use hallpass_core::StoreError;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresOptions;
use crate::address::{Address, AddressError, check_schema};
use crate::failure::Failures;

/// What a URL and the options say.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) schema: String,
    pub(crate) connect_timeout: Duration,
    /// Hosts, ports and database.
    pub(crate) place: String,
    address: Address,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("place", &self.place).field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn unusable(error: AddressError) -> StoreError {
    StoreError::unavailable(format!("the database URL cannot be used: {error}"))
}

impl Target {
    pub(crate) fn parse(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        let address = Address::parse(url).map_err(unusable)?;
        let mut config = address.config().clone();
        let connect_timeout = config.get_connect_timeout().copied().unwrap_or_else(|| options.connect_timeout());
        config.connect_timeout(connect_timeout);
        let schema = address.schema().or(options.schema.as_deref()).unwrap_or("public").to_owned();
        check_schema(&schema).map_err(unusable)?;
        Ok(Self { config, schema, connect_timeout, place: address.place().to_owned(), address })
    }

    pub(crate) fn tls(&self) -> Result<MakeRustlsConnect, StoreError> {
        self.address.tls().map_err(unusable)
    }

    pub(crate) fn failures(&self) -> Failures {
        Failures::of(&self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_comes_before_the_options() {
        let options = PostgresOptions { schema: Some(String::from("ours")), ..PostgresOptions::default() };
        let target = |url: &str| Target::parse(url, &options);
        let said = target("postgres://alice:s%40cret@db.example:6432/app?schema=auth&connect_timeout=7").unwrap();
        assert_eq!(said.place, "PostgreSQL at db.example:6432/app");
        assert_eq!((said.schema.as_str(), said.connect_timeout), ("auth", Duration::from_secs(7)));
        assert!(!format!("{said:?}").contains("cret"));
        let silent = target("postgres://db.example/app").unwrap();
        assert_eq!((silent.schema.as_str(), silent.connect_timeout), ("ours", options.connect_timeout()));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        let bad = PostgresOptions { schema: Some(String::from("pg_x")), ..PostgresOptions::default() };
        for (url, options) in [
            ("mysql://u:hunter2@db/app", PostgresOptions::default()),
            ("postgres://u:hunter2@db/app?hunter2=1", PostgresOptions::default()),
            ("postgres://u:hunter2@db/app", bad),
        ] {
            let error = Target::parse(url, &options).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("database URL") && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
