//! One command to the server that serves its place: redirections, fail-overs, and what may be sent again.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use hallpass_core::{Entropy as _, OsEntropy, StoreError, Timestamp};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Mutex, MutexGuard};

use crate::Location;
use crate::answer::{Read, Unreadable, array, count, integer, optional};
use crate::batch::Batch;
use crate::failure::{Failure, Failures};
use crate::keys::{Keys, Place, SHARDS};
use crate::node::{Lane, Node, jittered};
use crate::options::RedisOptions;
use crate::script::{Request, Script, Scripts};
use crate::topology::Topology;

/// How often one command is sent at most: for redirections and while slots move. The verb's own time-out comes before.
const MOST_ATTEMPTS: usize = 40;
/// How often while there is no primary.
const ATTEMPTS_WITHOUT_PRIMARY: usize = 8;
/// The pause between them.
const PAUSE: Duration = Duration::from_millis(60);
/// Replication ids that the log is known to know.
const MOST_FOLLOWED: usize = 1000;

/// The servers, the names of the keys and the scripts of one store.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
    pub(crate) failures: Failures,
    pub(crate) topology: Topology,
    pub(crate) reads: Arc<Batch>,
    replicas: u32,
    wait_timeout: Duration,
    expiry_grace: Duration,
    followed: RwLock<HashSet<Vec<u8>>>,
    /// One completion of a revocation of everyone at a time; the name and the position of the last one.
    pub(crate) everyone: Mutex<([u8; 16], u64)>,
    /// By shard: those creations of this program that count other sessions, one at a time, so that they do not make each other count
    /// again.
    creations: Vec<Mutex<()>>,
}

/// What sending it twice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// The same as once, with the same answer.
    Same,
    /// Something else: a lost answer stays lost.
    Differs,
}

/// What to do while some keys of a command are at one node and some at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moving {
    Wait,
    Tell,
}

/// What one place is asked.
#[derive(Debug)]
pub(crate) enum Asked<'a> {
    Command(Cmd),
    Script(Request<'a>),
}

impl Asked<'_> {
    fn command(&self, as_text: bool) -> Cmd {
        match self {
            Self::Command(command) => command.clone(),
            Self::Script(request) => request.command(as_text),
        }
    }
}

/// An answer, and how many replicas have the write, if they were waited for.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) value: Value,
    pub(crate) replicas: Option<u64>,
}

impl Database {
    pub(crate) fn new(location: &Location, options: &RedisOptions) -> Result<Self, StoreError> {
        let failures = Failures::at(location);
        if options.prefix.contains(['{', '}']) {
            return Err(failures
                .unavailable("the prefix of the keys must not contain braces: they make the hash tag of a Cluster"));
        }
        Ok(Self {
            keys: Keys::new(&options.prefix),
            scripts: Scripts::new(!location.is_cluster(), options),
            topology: Topology::new(location.clone(), options.clone(), failures.clone())?,
            reads: Arc::default(),
            failures,
            replicas: options.replicas_to_wait_for,
            wait_timeout: options.wait_timeout(),
            expiry_grace: options.expiry_grace(),
            followed: RwLock::new(HashSet::new()),
            everyone: Mutex::default(),
            creations: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
        })
    }

    /// Whether one server holds everything.
    pub(crate) const fn is_direct(&self) -> bool {
        !self.topology.is_cluster()
    }

    pub(crate) fn request<'a>(&self, script: &'a Script, place: Place) -> Request<'a> {
        Request::new(script, &self.keys, place)
    }

    /// The turn of a creation that counts.
    pub(crate) async fn turn(&self, place: Place) -> Option<MutexGuard<'_, ()>> {
        match self.creations.get(place.index()) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }

    /// Sixteen random bytes: what tells one call from every other.
    pub(crate) fn nonce(&self) -> Result<[u8; 16], StoreError> {
        let mut nonce = [0; 16];
        OsEntropy.fill(&mut nonce).map_err(|error| self.failures.unavailable(&error.to_string()))?;
        Ok(nonce)
    }

    /// The native expiry of what has this deadline, in milliseconds from now; 0 for none. Relative, because the server's clock decides nothing,
    /// and late, because it must never come before the deadline.
    pub(crate) fn expiry(&self, deadline: Timestamp, now: Timestamp) -> u128 {
        if deadline == Timestamp::NEVER { 0 } else { (deadline.since(now) + self.expiry_grace).as_millis() }
    }

    pub(crate) fn unreadable(&self, _: Unreadable) -> StoreError {
        self.failures
            .corrupt("an answer has a form that this program cannot read; look whether another program uses the prefix")
    }

    /// A command that only reads.
    pub(crate) async fn read(&self, place: Place, command: &Cmd) -> Result<Value, StoreError> {
        let answered = self.answered(place, false, Twice::Same, &|_| command.clone()).await;
        Ok(answered?.value)
    }

    /// A command that reads several keys; `None` while their slot is on its way to another node, some of them here and some there.
    pub(crate) async fn read_unless_moving(&self, place: Place, command: &Cmd) -> Result<Option<Value>, StoreError> {
        let answered = self.sent(place, false, Twice::Same, &|_| command.clone(), Moving::Tell).await;
        Ok(answered?.map(|answered| answered.value))
    }

    /// A write that may be done twice.
    pub(crate) async fn write(&self, place: Place, command: &Cmd) -> Result<Value, StoreError> {
        self.read(place, command).await
    }

    pub(crate) async fn script(&self, request: &Request<'_>, twice: Twice) -> Result<Value, StoreError> {
        let twice = if request.reads() { Twice::Same } else { twice };
        Ok(self.answered(request.place(), false, twice, &|as_text| request.command(as_text)).await?.value)
    }

    /// A script whose write the replicas are waited for, if the options say so.
    pub(crate) async fn durable_script(&self, request: &Request<'_>) -> Result<Answered, StoreError> {
        let wait = self.replicas > 0;
        self.answered(request.place(), wait, Twice::Differs, &|as_text| request.command(as_text)).await
    }

    /// What each shard is asked, pipelined to each server on a connection of its own, so that no check waits behind it. The answers are in
    /// the order of the shards.
    pub(crate) async fn on_all_shards<'a>(
        &self,
        asked: impl Fn(Place) -> Asked<'a>,
        twice: Twice,
    ) -> Result<Vec<(Place, Value)>, StoreError> {
        self.together(Place::shards().map(|place| (place, asked(place))).collect(), twice).await
    }

    /// The shards that may hold sessions: on one server those that ever did, in a Cluster all.
    pub(crate) async fn shards_in_use(&self) -> Result<Vec<Place>, StoreError> {
        if !self.is_direct() {
            return Ok(Place::shards().collect());
        }
        let command = redis::cmd("GET").arg(self.keys.of(Place::LOG, "used")).to_owned();
        let used = optional(self.read(Place::LOG, &command).await?).map_err(|error| self.unreadable(error))?;
        let used = used.unwrap_or_default();
        let is_used = |place: &Place| {
            let at = place.index();
            used.get(at / 8).is_some_and(|bits| bits & (0x80 >> (at % 8)) != 0)
        };
        Ok(Place::shards().filter(is_used).collect())
    }

    /// A script that reads these keys of every shard in use and answers numbers for each: one call on one server, one for each shard in
    /// a Cluster.
    pub(crate) async fn survey(
        &self,
        script: &Script,
        names: &[&str],
        arguments: &[Timestamp],
    ) -> Result<Vec<(Place, Vec<i64>)>, StoreError> {
        let request = |place: Place| {
            let request = self.request(script, place);
            arguments.iter().fold(request, |request, argument| request.number(argument.as_millis()))
        };
        let keys = |place: Place| names.iter().map(move |name| self.keys.of(place, name));
        let places = self.shards_in_use().await?;
        let values = if self.is_direct() {
            if places.is_empty() {
                return Ok(Vec::new());
            }
            let request = request(Place::LOG).keys(places.iter().copied().flat_map(keys));
            array(self.script(&request, Twice::Same).await?)
        } else {
            let asked = |place| Asked::Script(request(place).keys(keys(place)));
            let values = self.on_all_shards(asked, Twice::Same).await?;
            values.into_iter().map(|(_, value)| array(value)).collect::<Read<Vec<_>>>().map(|values| values.concat())
        };
        let numbers = |value: Value| array(value)?.iter().map(integer).collect::<Read<Vec<i64>>>();
        let told = values.and_then(|values| values.into_iter().map(numbers).collect::<Read<Vec<_>>>());
        Ok(places.into_iter().zip(told.map_err(|error| self.unreadable(error))?).collect())
    }

    /// As [`Database::on_all_shards`], for any places.
    pub(crate) async fn together(
        &self,
        asked: Vec<(Place, Asked<'_>)>,
        twice: Twice,
    ) -> Result<Vec<(Place, Value)>, StoreError> {
        let mut by_node: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (at, (place, _)) in asked.iter().enumerate() {
            let node = self.node(*place).await?;
            match by_node.iter_mut().find(|(known, _)| known.address() == node.address()) {
                Some((_, members)) => members.push(at),
                None => by_node.push((node, vec![at])),
            }
        }
        let asked = &asked;
        let one = |(node, members): (Arc<Node>, Vec<usize>)| async move {
            let mut pipeline = Pipeline::with_capacity(members.len());
            for at in &members {
                pipeline.add_command(asked[*at].1.command(false));
            }
            let answers = match node.send_together(Lane::Bulk, &pipeline).await {
                Ok(answers) => answers.into_iter().map(Some).collect(),
                Err(failure @ Failure::Lost { .. }) if twice == Twice::Differs => {
                    self.look_again(&node).await;
                    return Err(self.failures.explain(node.address(), failure));
                }
                // Nothing was done, or may be done again: one by one, with whatever each needs.
                Err(_) => vec![None; members.len()],
            };
            let mut values = Vec::with_capacity(members.len());
            for (at, answer) in members.into_iter().zip(answers.into_iter().chain(std::iter::repeat(None))) {
                let (place, asked) = &asked[at];
                let value = match answer.map(Value::extract_error) {
                    Some(Ok(value)) => value,
                    // The server says that it did not do it.
                    _ => self.answered(*place, false, twice, &|as_text| asked.command(as_text)).await?.value,
                };
                values.push((at, *place, value));
            }
            Ok(values)
        };
        // Each server gets its part, also when another one fails.
        let values = join_all(by_node.into_iter().map(one)).await.into_iter().collect::<Result<Vec<_>, StoreError>>();
        let mut values = values?.concat();
        values.sort_unstable_by_key(|(at, ..)| *at);
        Ok(values.into_iter().map(|(_, place, value)| (place, value)).collect())
    }

    /// Whether enough replicas have it.
    pub(crate) fn replicated(&self, replicas: Option<u64>) -> Result<(), StoreError> {
        match replicas {
            Some(found) if found < u64::from(self.replicas) => Err(self.failures.unavailable(&format!(
                "it was written, but only {found} of {} replicas had it within {} ms; it is in effect and would be lost if the primary were \
                 lost now",
                self.replicas,
                self.wait_timeout.as_millis()
            ))),
            _ => Ok(()),
        }
    }

    /// Waits until the replicas of every primary have what was written before. Each gets a write of its own on the way: `WAIT` waits for the
    /// last one of its connection.
    pub(crate) async fn wait_everywhere(&self) -> Result<(), StoreError> {
        if self.replicas == 0 {
            return Ok(());
        }
        let one = |(place, _): (Place, Arc<Node>)| async move {
            let key = self.keys.of(place, if place == Place::LOG { "n" } else { "c" });
            let command = redis::cmd("INCRBY").arg(key).arg(0).to_owned();
            let answered = self.answered(place, true, Twice::Same, &|_| command.clone()).await?;
            self.replicated(answered.replicas)
        };
        try_join_all(self.topology.primaries().into_iter().map(one)).await.map(drop)
    }

    /// Whether this program has told the log of the server with this replication id.
    pub(crate) fn is_followed(&self, replid: &[u8]) -> bool {
        self.followed.read().unwrap_or_else(PoisonError::into_inner).contains(replid)
    }

    pub(crate) fn has_followed(&self, replid: Vec<u8>) {
        let mut followed = self.followed.write().unwrap_or_else(PoisonError::into_inner);
        if followed.len() >= MOST_FOLLOWED {
            followed.clear();
        }
        followed.insert(replid);
    }

    async fn node(&self, place: Place) -> Result<Arc<Node>, StoreError> {
        if let Some(node) = self.topology.serving(place) {
            return Ok(node);
        }
        self.topology.refresh(None).await?;
        let node = self.topology.serving(place);
        node.ok_or_else(|| self.failures.unavailable(&format!("no node serves slot {}", place.slot())))
    }

    async fn answered(
        &self,
        place: Place,
        wait: bool,
        twice: Twice,
        command: &(dyn Fn(bool) -> Cmd + Sync),
    ) -> Result<Answered, StoreError> {
        let answered = self.sent(place, wait, twice, command, Moving::Wait).await?;
        answered.ok_or_else(|| self.failures.unavailable("slots are moving between nodes; try again later"))
    }

    async fn sent(
        &self,
        place: Place,
        wait: bool,
        twice: Twice,
        command: &(dyn Fn(bool) -> Cmd + Sync),
        moving: Moving,
    ) -> Result<Option<Answered>, StoreError> {
        let (mut as_text, mut lost, mut target) = (false, false, None);
        let mut without_primary = 0;
        let mut last = None;
        for _ in 0..MOST_ATTEMPTS {
            let (node, asking) = match target.take() {
                Some(target) => target,
                None => (self.node(place).await?, false),
            };
            let failure = match self.exchange(&node, wait, asking, command(as_text)).await {
                Ok(answered) => return Ok(Some(answered)),
                Err(failure) => failure,
            };
            match &failure {
                Failure::Refused(error) => match error.code() {
                    // It says that nothing was done.
                    Some("NOSCRIPT") if !as_text => {
                        as_text = true;
                        target = Some((node, asking));
                        continue;
                    }
                    Some(code @ ("MOVED" | "ASK")) => {
                        let named = error.redirect_node().and_then(|(to, _)| self.topology.named(to, &node));
                        if let Some(to) = named {
                            if code == "MOVED" {
                                self.topology.moved(place, &to);
                            }
                            target = Some((to, code == "ASK"));
                            last = Some(self.failures.explain(node.address(), failure));
                            continue;
                        }
                    }
                    Some("TRYAGAIN") if moving == Moving::Tell => return Ok(None),
                    Some("TRYAGAIN") if !self.is_direct() => {}
                    Some("CLUSTERDOWN" | "MASTERDOWN" | "READONLY" | "LOADING")
                        if !self.is_direct() && without_primary < ATTEMPTS_WITHOUT_PRIMARY =>
                    {
                        without_primary += 1;
                        self.look_again(&node).await;
                    }
                    Some("READONLY" | "MASTERDOWN") => {
                        node.hang_up();
                        return Err(self.failures.explain(node.address(), failure));
                    }
                    _ => return Err(self.failures.explain(node.address(), failure)),
                },
                Failure::NotSent { .. } => {
                    self.look_again(&node).await;
                    let another = self.topology.serving(place).is_some_and(|now| now.address() != node.address());
                    if !another {
                        return Err(self.failures.explain(node.address(), failure));
                    }
                    continue;
                }
                Failure::Lost { .. } => {
                    self.look_again(&node).await;
                    if lost || twice == Twice::Differs {
                        return Err(self.failures.explain(node.address(), failure));
                    }
                    lost = true;
                    continue;
                }
            }
            last = Some(self.failures.explain(node.address(), failure));
            tokio::time::sleep(jittered(PAUSE)).await;
        }
        Err(last.unwrap_or_else(|| self.failures.unavailable("the nodes redirect without end")))
    }

    /// A map that cannot be had leaves the old one.
    async fn look_again(&self, suspect: &Node) {
        if let Err(error) = self.topology.refresh(Some(suspect)).await {
            tracing::debug!(%error, "the Cluster's map could not be read");
        }
    }

    async fn exchange(&self, node: &Node, wait: bool, asking: bool, command: Cmd) -> Result<Answered, Failure> {
        if !wait && !asking {
            return Ok(Answered { value: node.send(Lane::Shared, &command).await?, replicas: None });
        }
        let mut together = Pipeline::with_capacity(3);
        if asking {
            together.add_command(redis::cmd("ASKING"));
        }
        together.add_command(command);
        if wait {
            together
                .cmd("WAIT")
                .arg(self.replicas)
                .arg(u64::try_from(self.wait_timeout.as_millis()).unwrap_or(u64::MAX));
        }
        let lane = if wait { Lane::Waiting } else { Lane::Shared };
        let mut answers = node.send_together(lane, &together).await?.into_iter();
        let missing = || Failure::Lost { what: format!("{} gave too few answers", node.address()), source: None };
        if asking {
            answers.next().ok_or_else(missing)?.extract_error().map_err(Failure::Refused)?;
        }
        let value = answers.next().ok_or_else(missing)?.extract_error().map_err(Failure::Refused)?;
        // A server that cannot wait has no replicas that have it.
        let replicas =
            answers.next().map(|answer| answer.extract_error().map_or(0, |answer| count(&answer).unwrap_or(0)));
        Ok(Answered { value, replicas: replicas.filter(|_| wait) })
    }
}
