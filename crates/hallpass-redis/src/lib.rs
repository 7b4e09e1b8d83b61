//! hallpass sessions in Redis (7.0 or newer) or Valkey: one server, or a Cluster.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use hallpass_core::Sessions;
//! use hallpass_redis::{RedisOptions, RedisStore};
//!
//! let store = RedisStore::open("redis+cluster://10.0.0.1:6379,10.0.0.2:6379", RedisOptions::default()).await?;
//! let sessions = Sessions::builder(Arc::new(store)).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What can be lost
//!
//! A session or a revocation that was acknowledged is as durable as the server makes it, and no more. hallpass cannot change that; `health`
//! says how the servers are set.
//!
//! - **A crash of a server.** With `appendonly yes` and `appendfsync always` nothing that was acknowledged is lost. With `everysec` (the
//!   default of most installations) a crash of the machine loses the last second or more: sessions that had begun are gone, and **sessions
//!   that had been ended live again**. Without `appendonly` everything since the last snapshot is lost.
//! - **A fail-over.** Replication is asynchronous, also with `appendfsync always`: a replica that takes over lacks what it had not received. A
//!   revocation that was acknowledged can be undone by it. [`RedisOptions::replicas_to_wait_for`] makes creations, rotations and revocations wait
//!   until so many replicas have them (`WAIT`). That makes the loss unlikely and does not exclude it: the replica that takes over may
//!   be another one.
//! - **An isolated primary** of a Cluster goes on answering until it notices that it is alone (`cluster-node-timeout`). Until then, programs on its side
//!   of the network do not see what the other side revoked.
//! - **The registry of nodes** is as durable as the rest: when a node's entry is lost, a revocation that waits for every node does not wait for this one,
//!   which may answer from memory for the rest of its lease.
//! - **Eviction.** With any `maxmemory-policy` but `noeviction`, a full memory removes sessions, which signs users out, and removes indexes and marks,
//!   which **lets revocations miss sessions or be forgotten**. With `noeviction` a full memory refuses new sessions and nothing else.
//!
//! Where a revocation must hold whatever fails, keep the sessions in an SQL database.
//!
//! # What each verb costs
//!
//! | verb | one server | Cluster |
//! |---|---|---|
//! | `find` | one command, shared with the reads that come at the same time | the same |
//! | `find` while a revocation of a user or of everyone in the same shard is not settled | one script more | the same |
//! | `renew`, `touch` | one script (`touch`: one for each shard, at once) | the same |
//! | `create` | one script; with a limit two or more: the first tells which sessions count | the same, and two more if one is evicted |
//! | `rotate`, `set_label`, `set_attributes` | one script | three: effect, log, outbox |
//! | `revoke` of a session | one script; one read before without an owner | three |
//! | `revoke` of a user or of others | one script, and reads for the count (none above 50,000 sessions) | three |
//! | `revoke` of everyone | one script | one for each shard, pipelined, and one for the log, then one for each shard again |
//! | `list` of a user | two round trips for each 200 rows that are looked at | the same |
//! | `list` of everybody | one question to each shard that ever held a session, pipelined, and the rows of the page | to each of the 256 shards |
//! | `count`, `health`, `sweepable` | a read and one script for all shards; the rows, pipelined, where a class or a user is asked for, or a mark is not settled | a script for each shard |
//! | `register_node`, `heartbeat`, `nodes`, `forget_node`, `changes_since` | one script | the same |
//! | `settle` | one read for all shards; two round trips for each 200 rows | a read of each shard |
//! | `sweep` | a read and one script for all shards; two round trips for each 200 rows | a script for each shard |
//!
//! Nothing runs `KEYS` or `SCAN`. A script looks at 200 rows at most, so that the server serves others in between; a limit looks at all the user's sessions
//! that have not ended.
//!
//! # Layout
//!
//! The last byte of a session's id is its user's shard. All of a user's sessions, indexes and marks have the hash tag `{hp:XX}` of that shard and so lie
//! in one slot; the log has the tag `{hp:log}`. Every write is one Lua script that declares all its keys: it is atomic, conditional, and only the one of
//! `create` makes a row. A session is one string, so that a check reads one value for it. What must be known beside it, the newest
//! revocation of a user or of everyone that is not settled, is read by the same command: on one server one key for all shards, which is absent
//! when nothing is unsettled, in a Cluster one of each shard. The layout has a version; a program refuses a newer one.
//!
//! Deadlines are compared when reading, by the caller's clock. The server's own expiry is only a net: a session leaves an hour
//! ([`RedisOptions::expiry_grace`](field@RedisOptions::expiry_grace)) after its idle deadline if no sweep removed it, an ended one after [`RedisOptions::ended_retention`](field@RedisOptions::ended_retention). The indexes have no
//! expiry, because a revocation relies on them: **the sweeper must run**. Expired rows that left by themselves count as swept when their index entries go.
//!
//! # The log
//!
//! On one server a revocation and its entry are written by one script. In a Cluster they lie in two slots, and no write spans two. There the shard's script
//! writes the effect and, with it, the entry into the shard's outbox; the entry then goes to the log, which numbers it; then the verb is acknowledged; then the
//! entry leaves the outbox. What a cache on another node relies on holds:
//!
//! - *An entry never precedes its effect.* A cache that reads the entry, drops the session and reads it again finds it ended.
//! - *An acknowledged revocation is in the log.* A program that dies in between has acknowledged nothing. Whoever comes next to that shard with a verb that logs, a
//!   sweep, or the same revocation again, brings the entry to the log first. A revocation that finds nothing to end is acknowledged only when the log has
//!   everything that the shard had to tell: the end that it relies on may be another program's.
//! - *Each entry is in the log once.* It carries a random name, which the log remembers for two hours: longer than any verb lasts. After a longer outage an entry
//!   may stand there a second time, which drops a cached session for nothing.
//! - *The order of the log is that of the effects in each shard.* An outbox is emptied from its beginning. Between shards there is no order to keep.
//!
//! **Revoking everyone is not atomic across the shards of a Cluster.** Each gets its mark at its own time, all of them before the log gets the one entry and
//! before it is acknowledged. A session that begins meanwhile may be ended or live. One such revocation runs at a time; it is noted before it begins, and what a
//! program left half done is completed by the next one, by a sweep, or by a revocation that relies on it. If that fails, the error says so: ask again.
//!
//! The incarnation of the log changes when its data is gone, when a revocation finds that a shard's data is gone, and when a revocation is written by a server that
//! wrote none before: one that was restarted or took over may have lost its last writes, and positions may be used twice. Caches then begin anew. So they do after
//! an orderly restart.
//!
//! # Hints
//!
//! A program with checks from memory keeps one more connection, on which it hears that another one has logged something, so that it reads the log at once. They are published on a channel
//! that is named after the prefix; nothing rests on them.
//!
//! # Failures
//!
//! Every wait has a bound ([`RedisOptions`]). A server that does not answer in time or not at all is [`StoreError::Unavailable`]; its connections are made
//! again, with a pause of at most half a second. A verb whose answer got lost is *unavailable* and not sent again unless doing it twice is the same as doing it
//! once; asking again is safe for every verb. Redirections (`MOVED`, `ASK`, `TRYAGAIN`), fail-overs and forgotten scripts are followed. While a slot moves
//! between nodes key by key, checks of its shards go on and writes wait, about two seconds at most. A full memory or disk and a replica are
//! [`StoreError::NotWritable`].
//!
//! For a Cluster set `cluster-require-full-coverage no`: otherwise one lost shard takes all others with it until its replica has taken over.
//!
//! A user with limited rights needs `+@read +@write +@scripting +@connection +info +time +wait +cluster|slots +cluster|info` on the keys of the prefix,
//! `+publish +subscribe` on the channel `<prefix>hints` for hints, and `+config|get` for `health` to tell `appendfsync`. TLS (`rediss://`) is rustls; the authority is the operating system's or
//! [`RedisOptions::authority`].
//!
//! [`StoreError::Unavailable`]: hallpass_core::StoreError::Unavailable
//! [`StoreError::NotWritable`]: hallpass_core::StoreError::NotWritable

mod answer;
mod batch;
mod change;
mod create;
mod database;
mod failure;
mod find;
mod health;
mod hints;
mod keys;
mod layout;
mod list;
mod location;
mod newest;
mod node;
mod nodes;
mod options;
mod outbox;
mod revocation_log;
mod revoke;
mod row;
mod script;
mod settle;
mod store;
mod sweep;
mod topology;

pub use location::{Location, LocationError};
pub use options::RedisOptions;
pub use store::RedisStore;

/// The newest layout of keys and rows that this program knows.
pub const LAYOUT_VERSION: u32 = layout::NEWEST;
