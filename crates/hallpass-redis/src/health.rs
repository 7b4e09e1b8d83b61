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
    for (place, node) in database.topology.primaries() {
        let info = Info::of(database, place).await?;
        let name = |what: &str| {
            if database.is_direct() { what.to_owned() } else { format!("{} {what}", node.address()) }
        };
        details.push((name("memory"), info.get("used_memory_human").to_owned()));
        details.push((name("durability"), durability(database, place, &info).await));
        details.push((name("eviction"), eviction(&info)));
        details.push((name("replicas"), info.get("connected_slaves").to_owned()));
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
    })
}

/// What a crash of the server can lose.
async fn durability(database: &Database, place: Place, info: &Info) -> String {
    if info.get("aof_enabled") != "1" {
        return String::from("appendonly no: a crash loses everything since the last snapshot; set appendonly yes");
    }
    let command = redis::cmd("CONFIG").arg("GET").arg("appendfsync").to_owned();
    // Many providers forbid CONFIG; then nobody can tell.
    let policy = database.read(place, &command).await.ok().and_then(|value| match value {
        Value::Map(pairs) => pairs.into_iter().next().and_then(|(_, value)| bytes(value).ok()),
        value => array(value).ok().and_then(|values| values.into_iter().nth(1)).and_then(|value| bytes(value).ok()),
    });
    match policy.as_deref() {
        Some(b"always") => String::from("appendonly yes, appendfsync always"),
        Some(policy) => format!(
            "appendonly yes, appendfsync {}: a crash of the machine can lose the last second or more; set appendfsync always",
            String::from_utf8_lossy(policy)
        ),
        None => String::from("appendonly yes, appendfsync unknown (CONFIG is not allowed)"),
    }
}

fn eviction(info: &Info) -> String {
    match info.get("maxmemory_policy") {
        "noeviction" => String::from("noeviction"),
        policy => format!(
            "{policy}: a full memory signs users out and lets revocations be forgotten; set maxmemory-policy noeviction"
        ),
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
