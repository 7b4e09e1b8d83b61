//! The engines, and what a test needs to know of each.

use std::path::Path;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    Mariadb,
    Redis,
    RedisCluster,
    Valkey,
}

impl Engine {
    /// An empty database of its own, which may be this file; `None` for a server that cannot be had here.
    pub(crate) async fn fresh(self, file: &Path) -> Option<String> {
        Some(match self {
            Self::Sqlite => format!("sqlite:{}", file.display()),
            Self::Postgres => super::fresh_postgres(),
            Self::Mariadb => super::fresh_mariadb().await,
            Self::Redis => super::fresh_redis(super::REDIS),
            Self::RedisCluster => super::fresh_redis(super::REDIS_CLUSTER),
            Self::Valkey => {
                super::optional_service(super::VALKEY)?;
                super::fresh_redis(super::VALKEY)
            }
        })
    }

    /// How its health line begins.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite ",
            Self::Postgres => "PostgreSQL ",
            Self::Mariadb => "MariaDB ",
            Self::Redis | Self::RedisCluster => "Redis ",
            Self::Valkey => "Valkey ",
        }
    }

    pub(crate) fn holds_accounts(self) -> bool {
        matches!(self, Self::Sqlite | Self::Postgres | Self::Mariadb)
    }
}
