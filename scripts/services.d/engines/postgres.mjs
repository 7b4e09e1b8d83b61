// PostgreSQL: one server, or a primary with a synchronous streaming standby.

import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Member } from "../member.mjs";
import { Problem } from "../problem.mjs";
import { until } from "../processes.mjs";
import { account, output, program } from "../programs.mjs";

const PROMOTE_MS = 30_000;
const STANDBY_MS = 30_000;

const url = (port) => `postgres://postgres@127.0.0.1:${port}/postgres`;

async function query(port, sql) {
  const command = [
    program("psql"),
    "-X",
    "-A",
    "-t",
    "-q",
    "-v",
    "ON_ERROR_STOP=1",
    "-h",
    "127.0.0.1",
    "-p",
    `${port}`,
    "-U",
    "postgres",
    "-d",
    "postgres",
    "-c",
    sql,
  ];
  return (await output(command, { timeout: 5_000 })).trim();
}

const answers = async (member) => (await query(member.port, "show data_directory")) === join(member.dir, "data");

function member(instance, name, settings) {
  return instance.add(
    new Member({
      name,
      dir: join(instance.dir, name),
      log: instance.log(name),
      user: account("postgres"),
      answers,
      // "Fast": sessions are ended, the shutdown is clean.
      stopSignal: "SIGINT",
      command: (self) => {
        const all = {
          port: self.port,
          listen_addresses: "127.0.0.1",
          unix_socket_directories: "",
          fsync: "on",
          synchronous_commit: "on",
          shared_buffers: "64MB",
          max_connections: 200,
          max_wal_size: "256MB",
          // Files in the data directory: a kill -9 leaves nothing in /dev/shm.
          dynamic_shared_memory_type: "mmap",
          ...settings(self),
        };
        return ["postgres", "-D", join(self.dir, "data"), ...Object.entries(all).flatMap(([key, value]) => ["-c", `${key}=${value}`])];
      },
    }),
  );
}

/** Without syncing: a power cut in the meantime ends the test anyway. */
async function makeData(self) {
  const command = [
    program("initdb"),
    "-N",
    "-A",
    "trust",
    "-U",
    "postgres",
    "-E",
    "UTF8",
    "--locale=C.UTF-8",
    "-D",
    join(self.dir, "data"),
  ];
  await output(command, { timeout: 60_000, user: account("postgres"), cwd: self.dir });
}

export async function start(instance) {
  const primary = member(instance, "primary", () => ({}));
  await makeData(primary);
  await primary.begin();
  const proxy = await instance.front(primary);
  instance.urls = () => ({ url: url(proxy.port), direct: url(primary.port) });
}

export async function startPair(instance) {
  const primary = member(instance, "primary", () => ({
    synchronous_standby_names: "FIRST 1 (standby)",
    // What the standby misses while it is down or cut off.
    wal_keep_size: "256MB",
  }));
  const standby = member(instance, "standby", () => ({
    primary_conninfo: `host=127.0.0.1 port=${replication.port} user=postgres application_name=standby`,
    wal_retrieve_retry_interval: "200ms",
    wal_keep_size: "256MB",
  }));
  await makeData(primary);
  // A copy of a database that has never run streams from the original's first byte on; no base backup needed.
  cpSync(join(primary.dir, "data"), join(standby.dir, "data"), { recursive: true, preserveTimestamps: true });
  writeFileSync(join(standby.dir, "data", "standby.signal"), "");
  const user = account("postgres");
  if (user !== undefined) await output(["chown", "-R", `${user.uid}:${user.gid}`, standby.dir]);
  await primary.begin();
  const [front, primaryProxy, replication] = [await instance.front(primary), await instance.front(primary), await instance.front(primary)];
  // Cutting off either of the two cuts replication.
  replication.other = standby;
  await standby.begin();
  const standbyProxy = await instance.front(standby);

  let current = primary;
  instance.urls = () => ({ url: url(front.port), direct: url(current.port) });
  const report = instance.report.bind(instance);
  instance.report = () => {
    const answer = report();
    for (const [at, proxy] of [primaryProxy, standbyProxy].entries()) {
      answer.members[at].url = url(proxy.port);
      answer.members[at].direct = url(answer.members[at].port);
    }
    return answer;
  };
  instance.settle = async () => {
    if (current !== primary || primary.state !== "running" || standby.state !== "running") return;
    const state = () => query(primary.port, "select sync_state from pg_stat_replication").catch(() => "");
    if (!(await until(async () => (await state()) === "sync", { timeout: STANDBY_MS }))) {
      throw new Problem(`the standby does not stream from the primary after ${STANDBY_MS / 1000} s; see ${standby.spec.log}`);
    }
  };
  instance.promote = async () => {
    if (current === standby) throw new Problem("the standby is the primary already");
    if (standby.state !== "running") throw new Problem(`the standby is ${standby.state}: it cannot be promoted`);
    await output(
      [
        program("psql"),
        "-X",
        "-q",
        "-h",
        "127.0.0.1",
        "-p",
        `${standby.port}`,
        "-U",
        "postgres",
        "-c",
        `select pg_promote(true, ${PROMOTE_MS / 1000})`,
      ],
      { timeout: PROMOTE_MS },
    );
    if ((await query(standby.port, "select pg_is_in_recovery()")) !== "f")
      throw new Problem(`the standby did not become primary; see ${standby.spec.log}`);
    current = standby;
    // The address of the pair follows the primary, as a virtual address or a load balancer would.
    primary.proxies.splice(primary.proxies.indexOf(front), 1);
    standby.proxies.push(front);
    front.retarget(standby);
    await front.down(false);
    return url(standbyProxy.port);
  };
  await instance.settle();
}
