// Redis and Valkey: one server, a primary with a replica, or a cluster of three primaries with a replica each.

import { join } from "node:path";
import { Member } from "../member.mjs";
import { Problem } from "../problem.mjs";
import { until } from "../processes.mjs";
import { output, program } from "../programs.mjs";

const SLOTS = 16_384;
const SHARDS = 3;
const CLUSTER_MS = 30_000;
const REPLICA_MS = 30_000;
// For tests of faults: seconds until a replica takes over. Elsewhere a busy machine must not look like a dead node.
const QUICK_NODE_TIMEOUT_MS = 2_000;
const NODE_TIMEOUT_MS = 15_000;

const url = (port) => `redis://127.0.0.1:${port}`;

async function ask(member, ...words) {
  const text = await output([program("redis-cli"), "-h", "127.0.0.1", "-p", `${member.port}`, ...words.map(String)], { timeout: 5_000 });
  if (/^(ERR|[A-Z]+ )/.test(text) && !text.startsWith("OK"))
    throw new Problem(`${member.name}: ${words.slice(0, 2).join(" ")}: ${text.trim()}`);
  return text.trim();
}

const answers = async (member) =>
  (await ask(member, "info", "server")).includes(`process_id:${member.pid}\r`) && (await ask(member, "ping")) === "PONG";

function member(instance, name, binary, settings = () => ({}), ports = []) {
  return instance.add(
    new Member({
      name,
      dir: join(instance.dir, name),
      log: instance.log(name),
      ports,
      answers,
      command: (self) => {
        const all = {
          port: self.port,
          bind: "127.0.0.1",
          dir: self.dir,
          daemonize: "no",
          save: "",
          appendonly: "yes",
          // Acknowledged is on disk: nothing acknowledged is lost to a kill -9.
          appendfsync: "always",
          "auto-aof-rewrite-min-size": "64mb",
          ...settings(self),
        };
        return [binary, ...Object.entries(all).flatMap(([key, value]) => [`--${key}`, `${value}`])];
      },
    }),
  );
}

export async function start(instance, { binary = "redis-server" } = {}) {
  const primary = member(instance, "primary", binary);
  await primary.begin();
  const proxy = await instance.front(primary);
  instance.urls = () => ({ url: url(proxy.port), direct: url(primary.port) });
}

/** A primary, and a replica that can be promoted; whichever is not the primary follows it through a proxy, asynchronously as Redis does. */
export async function startPair(instance) {
  let current;
  const settings = (self) => ({
    "repl-diskless-sync-delay": 0,
    ...(current === self ? {} : { replicaof: `127.0.0.1 ${replication.port}` }),
  });
  const [primary, replica] = ["primary", "replica"].map((name) => member(instance, name, "redis-server", settings));
  current = primary;
  await primary.begin();
  const [front, replication] = [await instance.front(primary), await instance.front(primary)];
  // Cutting off the replica cuts replication.
  replication.other = replica;
  await replica.begin();
  instance.urls = () => ({ url: url(front.port), direct: url(current.port) });
  instance.settle = async () => {
    const follower = current === primary ? replica : primary;
    if (current.state !== "running" || follower.state !== "running") return;
    const inStep = async () => (await ask(follower, "info", "replication")).includes("master_link_status:up");
    if (!(await until(() => inStep().catch(() => false), { timeout: REPLICA_MS })))
      throw new Problem(`${follower.name} does not follow ${current.name} after ${REPLICA_MS / 1000} s`);
  };
  instance.promote = async () => {
    if (current === replica) throw new Problem("the replica is the primary already");
    if (replica.state !== "running") throw new Problem(`the replica is ${replica.state}: it cannot be promoted`);
    if (primary.state === "running") throw new Problem("the primary runs: two would take writes");
    await ask(replica, "replicaof", "no", "one");
    current = replica;
    replication.other = primary;
    // The address follows the primary, and so will the old one when it is started again.
    for (const proxy of [front, replication]) {
      primary.proxies.splice(primary.proxies.indexOf(proxy), 1);
      replica.proxies.push(proxy);
      proxy.retarget(replica);
      await proxy.down(false);
    }
    return url(front.port);
  };
  await instance.settle();
}

/** Answers when every node knows that the cluster is whole and every replica has its primary's data. */
async function whole(members) {
  for (const each of members) {
    const info = await ask(each, "cluster", "info");
    if (!info.includes("cluster_state:ok") || !info.includes(`cluster_known_nodes:${2 * SHARDS}`)) return false;
    const role = await ask(each, "info", "replication");
    if (role.includes("role:slave") && !role.includes("master_link_status:up")) return false;
    if (role.includes("role:master") && !role.includes("connected_slaves:1")) return false;
  }
  return true;
}

export async function startCluster(instance, { proxied = true } = {}) {
  const names = ["primary", "replica"].flatMap((role) => Array.from({ length: SHARDS }, (_, at) => `${role}-${at + 1}`));
  const members = names.map((name) =>
    member(
      instance,
      name,
      "redis-server",
      (self) => ({
        "cluster-enabled": "yes",
        "cluster-port": self.busPort,
        "cluster-config-file": "nodes.conf",
        "cluster-node-timeout": proxied ? QUICK_NODE_TIMEOUT_MS : NODE_TIMEOUT_MS,
        // A lost shard does not take the others with it.
        "cluster-require-full-coverage": "no",
        "cluster-allow-replica-migration": "no",
        "repl-diskless-sync-delay": 0,
        ...(self.announced === undefined ? {} : { "cluster-announce-port": self.announced }),
      }),
      ["busPort"],
    ),
  );
  await Promise.all(members.map((each) => each.begin()));
  const proxies = [];
  if (proxied) {
    for (const each of members) {
      proxies.push(await instance.front(each));
      // Redirections name the proxy's port, and a client that follows them stays on ways that can be cut.
      each.announced = proxies.at(-1).port;
    }
  }
  await form(members);
  const seeds = (ports) => `redis+cluster://${ports.map((port) => `127.0.0.1:${port}`).join(",")}`;
  instance.urls = () => {
    const direct = seeds(members.slice(0, SHARDS).map((each) => each.port));
    return { url: proxied ? seeds(proxies.slice(0, SHARDS).map((each) => each.port)) : direct, direct };
  };
  instance.settle = async () => {
    if (members.some((each) => each.state !== "running")) return;
    if (!(await until(() => whole(members).catch(() => false), { timeout: CLUSTER_MS, every: 50 }))) {
      throw new Problem(`the cluster is not whole after ${CLUSTER_MS / 1000} s:\n${await ask(members[0], "cluster", "nodes")}`);
    }
  };
  await instance.settle();
}

async function form(members) {
  const [first] = members;
  const primaries = members.slice(0, SHARDS);
  await Promise.all(
    members.map(async (each, at) => {
      // Different from the start: equal epochs are settled by elections that a test would see.
      await ask(each, "cluster", "set-config-epoch", at + 1);
      if (each.announced !== undefined) await ask(each, "config", "set", "cluster-announce-port", each.announced);
      if (at < SHARDS)
        await ask(each, "cluster", "addslotsrange", Math.ceil((SLOTS * at) / SHARDS), Math.ceil((SLOTS * (at + 1)) / SHARDS) - 1);
    }),
  );
  for (const each of members.slice(1)) await ask(first, "cluster", "meet", "127.0.0.1", each.port, each.busPort);
  const known = async (each) => (await ask(each, "cluster", "info")).includes(`cluster_known_nodes:${members.length}`);
  for (const each of members) await until(() => known(each), { timeout: CLUSTER_MS });
  const ids = await Promise.all(primaries.map((each) => ask(each, "cluster", "myid")));
  for (const [at, replica] of members.slice(SHARDS).entries()) await until(() => replicate(replica, ids[at]), { timeout: CLUSTER_MS });
}

/** A node that has only heard of its primary cannot follow it yet. */
async function replicate(replica, id) {
  return (
    (
      await output([program("redis-cli"), "-h", "127.0.0.1", "-p", `${replica.port}`, "cluster", "replicate", id], { timeout: 5_000 })
    ).trim() === "OK"
  );
}
