//! What the database says about itself.

use std::collections::HashMap;

use hallpass_core::store::{Filter, Health};
use hallpass_core::{StoreError, Timestamp};
use redis::Value;

use crate::answer::{array, bytes, integer};
use crate::database::Database;
use crate::keys::Place;
use crate::{layout, list};

/// The fields of `INFO`.
pub(crate) struct Info(HashMap<String, String>);

impl Info {
    pub(crate) async fn of(database: &Database, place: Place) -> Result<Self, StoreError> {
        let value = database.read(place, &redis::cmd("INFO")).await?;
        let text = bytes(value).map_err(|error| database.unreadable(error))?;
        let text = String::from_utf8_lossy(&text);
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(Self(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The engine and its version. Valkey still names the version of Redis that it is compatible with.
    pub(crate) fn engine(&self) -> String {
        match self.get("valkey_version") {
            "" => format!("Redis {}", self.get("redis_version")),
            version => format!("Valkey {version}"),
        }
    }
}

pub(crate) async fn health(database: &Database, shown: &str, now: Timestamp) -> Result<Health, StoreError> {
    let log = Info::of(database, Place::LOG).await?;
    let mut details = vec![(String::from("database"), shown.to_owned())];
    let mut warnings = Vec::new();
    for (place, node) in database.topology.primaries() {
        let info = Info::of(database, place).await?;
        let name = |what: &str| {
            if database.is_direct() { what.to_owned() } else { format!("{} {what}", node.address()) }
        };
        details.push((name("memory"), info.get("used_memory_human").to_owned()));
        details.push((name("replicas"), info.get("connected_slaves").to_owned()));
        for (what, (value, warning)) in [
            ("durability", durability(database, place, &info).await),
            ("eviction", eviction(&info)),
            ("full coverage", full_coverage(database, place).await),
        ] {
            details.extend((!value.is_empty()).then(|| (name(what), value)));
            warnings.extend(warning.map(&name));
        }
    }
    if !database.is_direct() {
        details.push((String::from("cluster"), cluster(database).await?));
    }
    Ok(Health {
        engine: log.engine(),
        schema: layout::migrate(database).await?.1,
        clock: clock(database).await?,
        live: list::count(database, &Filter::default(), now).await?,
        details,
        warnings,
    })
}

/// What a server is set to, and what is wrong with that.
type Judged = (String, Option<&'static str>);

/// A setting of the server of a place. Many providers forbid `CONFIG`; then nobody can tell.
async fn setting(database: &Database, place: Place, name: &str) -> Option<Vec<u8>> {
    let command = redis::cmd("CONFIG").arg("GET").arg(name).to_owned();
    match database.read(place, &command).await.ok()? {
        Value::Map(pairs) => pairs.into_iter().next().and_then(|(_, value)| bytes(value).ok()),
        value => array(value).ok()?.into_iter().nth(1).and_then(|value| bytes(value).ok()),
    }
}

/// What a crash of the server can lose.
async fn durability(database: &Database, place: Place, info: &Info) -> Judged {
    if info.get("aof_enabled") != "1" {
        let warning = "appendonly is no, so a crash loses everything since the last snapshot, and sessions that were ended since live again; \
             set appendonly yes and appendfsync always";
        return (String::from("appendonly no"), Some(warning));
    }
    match setting(database, place, "appendfsync").await.as_deref() {
        Some(b"always") => (String::from("appendonly yes, appendfsync always"), None),
        Some(policy) => (
            format!("appendonly yes, appendfsync {}", String::from_utf8_lossy(policy)),
            Some(
                "a crash of the machine can lose the last second or more, and sessions that were ended in it live again; \
                 set appendfsync always",
            ),
        ),
        None => (String::from("appendonly yes, appendfsync unknown (CONFIG is not allowed)"), None),
    }
}

fn eviction(info: &Info) -> Judged {
    let policy = info.get("maxmemory_policy");
    let warning = "a full memory signs users out and lets revocations be forgotten; set maxmemory-policy noeviction";
    (policy.to_owned(), (policy != "noeviction").then_some(warning))
}

/// Nothing to tell of a single server.
async fn full_coverage(database: &Database, place: Place) -> Judged {
    if database.is_direct() {
        return (String::new(), None);
    }
    let required = setting(database, place, "cluster-require-full-coverage").await;
    let warning = "one lost shard takes all others with it until its replica has taken over; set cluster-require-full-coverage no";
    match required.as_deref() {
        Some(b"no") => (String::from("not required"), None),
        Some(_) => (String::from("required"), Some(warning)),
        None => (String::from("unknown (CONFIG is not allowed)"), None),
    }
}

async fn cluster(database: &Database) -> Result<String, StoreError> {
    let command = redis::cmd("CLUSTER").arg("INFO").to_owned();
    let text = bytes(database.read(Place::LOG, &command).await?).map_err(|error| database.unreadable(error))?;
    let text = String::from_utf8_lossy(&text);
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("").trim().to_owned()
    };
    Ok(format!(
        "{}, {} of 16384 slots served, {} primaries, {} nodes",
        field("cluster_state"),
        field("cluster_slots_ok"),
        field("cluster_size"),
        field("cluster_known_nodes")
    ))
}

async fn clock(database: &Database) -> Result<Option<Timestamp>, StoreError> {
    let parts = array(database.read(Place::LOG, &redis::cmd("TIME")).await?);
    let numbers = parts.and_then(|parts| parts.iter().map(integer).collect::<Result<Vec<i64>, _>>());
    match numbers.map_err(|error| database.unreadable(error))?.as_slice() {
        [seconds, micros] => Ok(Some(Timestamp::from_millis(seconds * 1000 + micros / 1000))),
        _ => Ok(None),
    }
}
