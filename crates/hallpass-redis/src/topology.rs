//! Which server serves which place.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hallpass_core::StoreError;
use redis::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::failure::Failures;
use crate::keys::{PLACES, Place};
use crate::location::{Location, address};
use crate::node::{Lane, Node};
use crate::options::RedisOptions;

/// The map is asked for at most this often.
const LEAST_AGE: Duration = Duration::from_millis(100);
/// How long one node may take to tell it; then another one is asked.
const PATIENCE: Duration = Duration::from_millis(500);

/// The servers of one database.
#[derive(Debug)]
pub(crate) struct Topology {
    location: Location,
    options: RedisOptions,
    failures: Failures,
    map: RwLock<Arc<Map>>,
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Map {
    nodes: HashMap<String, Arc<Node>>,
    /// By place; of a single server, one for all.
    serving: Vec<Option<Arc<Node>>>,
}

impl Topology {
    /// Connects to nothing yet.
    pub(crate) fn new(location: Location, options: RedisOptions, failures: Failures) -> Result<Self, StoreError> {
        let mut nodes = HashMap::new();
        for (host, port) in location.nodes() {
            let node = Node::new(&location, host, *port, &options).map_err(|error| StoreError::Unavailable {
                message: format!("{location}: {error}; look at the address and the certificates"),
                source: Some(Box::new(error)),
            })?;
            nodes.insert(address(host, *port), Arc::new(node));
        }
        let first = if location.is_cluster() { None } else { nodes.values().next().cloned() };
        let map = Map { nodes, serving: vec![first; PLACES] };
        Ok(Self { location, options, failures, map: RwLock::new(Arc::new(map)), asked: Mutex::new(None) })
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        self.location.is_cluster()
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The primary of a place as far as known.
    pub(crate) fn serving(&self, place: Place) -> Option<Arc<Node>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.serving.get(place.index()).cloned().flatten()
    }

    /// Every primary that serves a place, each with one of its places.
    pub(crate) fn primaries(&self) -> Vec<(Place, Arc<Node>)> {
        let map = self.map();
        let mut found: Vec<(Place, Arc<Node>)> = Vec::new();
        for place in Place::shards().chain([Place::LOG]) {
            if let Some(node) = map.serving.get(place.index()).and_then(Option::as_ref)
                && !found.iter().any(|(_, known)| known.address() == node.address())
            {
                found.push((place, Arc::clone(node)));
            }
        }
        found
    }

    /// Some server that is known: the next one for each number.
    pub(crate) fn any(&self, number: usize) -> Option<Arc<Node>> {
        let map = self.map();
        let mut names: Vec<&String> = map.nodes.keys().collect();
        names.sort_unstable();
        let name = *names.get(number % names.len().max(1))?;
        map.nodes.get(name).cloned()
    }

    /// The node that a redirection names, which may be one not known yet.
    pub(crate) fn named(&self, target: &str, by: &Node) -> Option<Arc<Node>> {
        let (host, port) = target.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // A node that does not know its own name leaves it out.
        self.node(if host.is_empty() { by.host() } else { host }, port)
    }

    fn node(&self, host: &str, port: u16) -> Option<Arc<Node>> {
        let name = address(host, port);
        if let Some(node) = self.map().nodes.get(&name) {
            return Some(Arc::clone(node));
        }
        let node = Arc::new(Node::new(&self.location, host, port, &self.options).ok()?);
        self.change(|map| {
            map.nodes.entry(name).or_insert_with(|| Arc::clone(&node));
        });
        Some(node)
    }

    /// A node said that another one serves the place now.
    pub(crate) fn moved(&self, place: Place, to: &Arc<Node>) {
        self.change(|map| {
            if let Some(serving) = map.serving.get_mut(place.index()) {
                *serving = Some(Arc::clone(to));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Map)) {
        let mut current = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let mut map = (**current).clone();
        change(&mut map);
        *current = Arc::new(map);
    }

    /// Asks the nodes, those before `suspect`, who serves what. Not more often than [`LEAST_AGE`]: whoever waits for it shares the answer.
    pub(crate) async fn refresh(&self, suspect: Option<&Node>) -> Result<(), StoreError> {
        if !self.is_cluster() {
            return Ok(());
        }
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < LEAST_AGE) {
            return Ok(());
        }
        let mut nodes: Vec<Arc<Node>> = self.map().nodes.values().cloned().collect();
        nodes.sort_by_key(|node| suspect.is_some_and(|suspect| suspect.address() == node.address()));
        let mut why = None;
        for node in nodes {
            let command = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
            match timeout(PATIENCE, node.send(Lane::Shared, &command)).await {
                Ok(Ok(slots)) => {
                    let ranges = ranges(slots, &node);
                    if ranges.is_empty() {
                        why = Some(self.failures.unavailable(&format!("{} knows of no slots", node.address())));
                        continue;
                    }
                    self.learn(&ranges);
                    *asked = Some(Instant::now());
                    return Ok(());
                }
                Ok(Err(failure)) => why = Some(self.failures.explain(node.address(), failure)),
                Err(_) => {
                    why = Some(self.failures.unavailable(&format!("{} did not tell who serves what", node.address())));
                }
            }
        }
        *asked = Some(Instant::now());
        Err(why.unwrap_or_else(|| self.failures.unavailable("no node is known")))
    }

    fn learn(&self, ranges: &[Range]) {
        let known = self.map();
        let mut nodes: HashMap<String, Arc<Node>> = HashMap::new();
        for range in ranges {
            for (host, port) in &range.nodes {
                let name = address(host, *port);
                let node = known.nodes.get(&name).cloned();
                let node = node.or_else(|| Node::new(&self.location, host, *port, &self.options).ok().map(Arc::new));
                if let Some(node) = node {
                    nodes.insert(name, node);
                }
            }
        }
        let serving = Place::shards().chain([Place::LOG]).map(|place| {
            let slot = i64::from(place.slot());
            let range = ranges.iter().find(|range| (range.from..=range.to).contains(&slot))?;
            let (host, port) = range.nodes.first()?;
            nodes.get(&address(host, *port)).cloned()
        });
        let serving = serving.collect();
        // The nodes to begin with stay known, for the day when all others are gone.
        for (host, port) in self.location.nodes() {
            let name = address(host, *port);
            if let Some(node) = known.nodes.get(&name) {
                nodes.entry(name).or_insert_with(|| Arc::clone(node));
            }
        }
        self.change(|map| *map = Map { nodes, serving });
    }
}

/// Slots that one primary serves; it comes first, its replicas follow.
struct Range {
    from: i64,
    to: i64,
    nodes: Vec<(String, u16)>,
}

fn ranges(slots: Value, by: &Node) -> Vec<Range> {
    let Value::Array(slots) = slots else { return Vec::new() };
    slots.into_iter().filter_map(|slot| range(slot, by)).collect()
}

fn range(slot: Value, by: &Node) -> Option<Range> {
    let Value::Array(parts) = slot else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::Int(from)), Some(Value::Int(to))) = (parts.next(), parts.next()) else { return None };
    let nodes = parts.filter_map(|node| {
        let Value::Array(node) = node else { return None };
        let mut node = node.into_iter();
        let host: Option<String> = redis::from_redis_value(node.next()?).ok()?;
        let port: u16 = redis::from_redis_value(node.next()?).ok()?;
        let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| by.host().to_owned());
        Some((host, port))
    });
    Some(Range { from, to, nodes: nodes.collect() })
}
