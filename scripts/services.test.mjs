// scripts/services through its command line, with the engines' own clients: node --test scripts/services.test.mjs

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { alive, isStopped, processesIn, treeOf, until } from "./services.d/processes.mjs";
import { program } from "./services.d/programs.mjs";
import { removeSharedMemory } from "./services.d/shared-memory.mjs";
import { valkeyServer } from "./services.d/valkey.mjs";

const SCRIPT = fileURLToPath(new URL("services", import.meta.url));
const TIMEOUT = { timeout: 120_000 };
// Most of a test is waiting.
const TOGETHER = { timeout: 240_000, concurrency: 3 };
// How long something that must hang is watched. What must succeed has as long as a busy machine needs.
const SHORT_MS = 400;

const temporary = realpathSync(mkdtempSync(join(tmpdir(), "hallpass-services-test.")));
const environment = { ...process.env, TMPDIR: temporary };
for (const name of Object.keys(environment)) if (name.startsWith("HALLPASS_")) delete environment[name];

// The servers' accounts must get through to their directories.
await execFileResult("chmod", ["711", temporary]);

async function execFileResult(file, args, options = {}) {
  const { stdout } = await promisify(execFile)(file, args, { timeout: 60_000, killSignal: "SIGKILL", env: environment, ...options });
  return stdout.trim();
}

async function services(...args) {
  const text = await execFileResult(SCRIPT, args);
  return text.startsWith("{") ? JSON.parse(text) : text;
}

/** Runs it and expects it to fail; answers what it said. */
async function refused(...args) {
  const error = await services(...args).then(
    () => assert.fail(`${args.join(" ")} succeeded`),
    (failure) => failure,
  );
  return { code: error.code, text: error.stderr };
}

/** Starts an instance that ends with the test, if the test has not ended it. */
async function start(t, kind, ...args) {
  const instance = await services("start", kind, ...args);
  t.after(() => (existsSync(join(instance.dir, "services.json")) ? services("stop", instance.dir) : undefined));
  return instance;
}

/** Stops an instance; nothing of it may stay. */
async function stop({ dir }) {
  await services("stop", dir);
  assert.deepEqual(processesIn(dir), [], "stop leaves processes");
  assert.ok(!existsSync(dir), "stop leaves the directory");
}

const memberOf = ({ members }, name) => members.find((each) => each.name === name);

// One way to talk to each engine: put a word, list the words that are there.
const briefly = { timeout: SHORT_MS };

/** Whether it neither succeeds nor fails for a while. */
const hangs = (asking) => assert.rejects(asking, { killed: true }, "it does not hang");

const sql = {
  postgres: (url, text, options) =>
    execFileResult(program("psql"), ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text], options),
  mariadb: (url, text, options) => {
    const { port } = new URL(url);
    return execFileResult(
      program("mariadb"),
      ["--no-defaults", "-h", "127.0.0.1", "-P", port, "-u", "root", "-N", "-B", "test", "-e", text],
      options,
    );
  },
};

const sqlTalk = (query) => ({
  prepare: (url) => query(url, "create table words (word varchar(50) primary key)"),
  put: (url, word, options) => query(url, `insert into words values ('${word}')`, options),
  words: async (url, options) => (await query(url, "select word from words order by word", options)).split("\n").filter(Boolean),
});

const redisCommand = (url, words, options) => {
  const { hostname, port } = new URL(url.replace(/,.*/, ""));
  return execFileResult(program("redis-cli"), ["-e", "-c", "-h", hostname, "-p", port, ...words], options);
};
const redis = (url, ...words) => redisCommand(url, words);

const redisTalk = {
  prepare: async () => {},
  put: (url, word, options) => redisCommand(url, ["set", word, "1"], options),
  words: async (url, options) => (await redisCommand(url, ["keys", "*"], options)).split("\n").filter(Boolean).sort(),
};

const TALK = { postgres: sqlTalk(sql.postgres), mariadb: sqlTalk(sql.mariadb), redis: redisTalk, valkey: redisTalk };

/** How long it takes a raw connection to be refused or reset, or that it was still open at the end. */
function rawConnection(url, wait = SHORT_MS) {
  const { port } = new URL(url.replace(/,.*/, ""));
  return new Promise((resolve) => {
    const socket = connect({ port: Number(port), host: "127.0.0.1" });
    const end = (outcome) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end("open and silent"), wait);
    socket.on("error", (error) => end(error.code));
    socket.on("data", () => end("answered"));
    socket.on("end", () => end("ended"));
  });
}

let fakes = 0;
/** A directory for the front of PATH in which one program is a shell script of the test's. */
async function fakeProgram(name, script) {
  const directory = join(temporary, `bin${(fakes += 1)}`);
  await execFileResult("mkdir", [directory]);
  writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return directory;
}

const valkeyMissing = await valkeyServer().then(
  () => false,
  (error) => error.message,
);

/** No process and no directory of ours is there, or soon no longer. */
async function nothingLeft(reason) {
  const gone = await until(() => processesIn(temporary).length === 0, { timeout: 10_000 });
  const left = processesIn(temporary).map((pid) => `${pid} ${readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ")}`);
  assert.ok(gone, `${reason} leaves processes: ${left.join("; ")}`);
  const files = () => readdirSync(temporary).filter((name) => name.startsWith("hallpass-services."));
  assert.ok(await until(() => files().length === 0, { timeout: 10_000 }), `${reason} leaves ${files().join(", ")}`);
}

after(() => rmSync(temporary, { recursive: true, force: true }));

describe("one server", TOGETHER, () => {
  for (const kind of ["postgres", "mariadb", "redis", "valkey"]) {
    const { prepare, put, words } = TALK[kind];
    test(`${kind}: kill -9, restart, freeze, thaw, cut, mend`, { ...TIMEOUT, skip: kind === "valkey" && valkeyMissing }, async (t) => {
      const instance = await start(t, kind);
      const { dir, url, direct } = instance;
      const [{ name, pid, port }] = instance.members;
      assert.equal(name, "primary");
      assert.equal(new URL(direct).port, `${port}`);
      assert.notEqual(new URL(url).port, `${port}`);
      await prepare(url);
      await put(url, "before");
      assert.deepEqual(await words(direct), ["before"]);

      await services("kill", dir);
      assert.ok(!alive(pid));
      assert.deepEqual(processesIn(dir), [], "helpers outlive kill");
      assert.equal(await rawConnection(url), "ECONNREFUSED");
      assert.equal(await rawConnection(direct), "ECONNREFUSED");
      assert.equal((await services("status", dir)).members[0].state, "killed");

      const again = await services("restart", dir);
      assert.equal(again.url, url);
      assert.equal(again.members[0].port, port);
      assert.deepEqual(await words(url), ["before"], "an acknowledged write is lost");

      await services("freeze", dir, "primary");
      assert.ok(processesIn(dir).every(isStopped));
      await hangs(words(url, briefly));
      assert.equal((await services("status", dir)).members[0].state, "frozen");
      assert.match((await refused("freeze", dir)).text, /primary is frozen, not running/);
      await services("thaw", dir, "primary");
      assert.deepEqual(await words(url), ["before"]);

      await services("cut", dir, "--refuse");
      assert.equal(await rawConnection(url), "ECONNREFUSED");
      await put(direct, "direct");
      await services("mend", dir);
      assert.deepEqual(await words(url), ["before", "direct"]);

      await services("cut", dir, "--black-hole");
      assert.equal(await rawConnection(url), "open and silent");
      await hangs(put(url, "swallowed", briefly));
      assert.deepEqual(await words(direct), ["before", "direct"]);
      await services("mend", dir);
      await put(url, "mended");
      assert.ok((await words(url)).includes("mended"));

      // An orderly restart, and one of a frozen server.
      await services("restart", dir);
      await services("freeze", dir);
      await services("restart", dir);
      assert.ok((await words(url)).includes("mended"));
      await stop(instance);
    });
  }

  test("open connections: black-holed ones go on after mending, refused ones are reset, answers can be lost", TIMEOUT, async (t) => {
    const { dir, url, direct } = await start(t, "redis");
    const open = () => {
      const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1" });
      const seen = { text: "", error: undefined };
      socket
        .setEncoding("utf8")
        .on("data", (text) => (seen.text += text))
        .on("error", (error) => (seen.error = error.code));
      return { socket, seen };
    };
    const value = () => redis(direct, "get", "n");
    const hole = open();
    t.after(() => hole.socket.destroy());
    hole.socket.write("incr n\r\n");
    assert.ok(await until(() => hole.seen.text === ":1\r\n", { timeout: 5_000 }));
    await services("cut", dir, "--black-hole");
    hole.socket.write("incr n\r\n");
    assert.equal(await rawConnection(url), "open and silent");
    assert.equal(await value(), "1");
    await services("mend", dir);
    assert.ok(await until(() => hole.seen.text === ":1\r\n:2\r\n", { timeout: 5_000 }), "the connection does not go on");

    await services("cut", dir, "--lose-answers");
    hole.socket.write("incr n\r\n");
    assert.ok(await until(async () => (await value()) === "3", { timeout: 5_000 }), "the request does not arrive");
    assert.equal(hole.seen.text, ":1\r\n:2\r\n");
    await services("cut", dir, "--refuse");
    assert.ok(await until(() => hole.seen.error === "ECONNRESET", { timeout: 5_000 }), `not reset: ${hole.seen.error}`);
  });

  test("much data passes the proxy whole, both ways", TIMEOUT, async (t) => {
    const { url } = await start(t, "redis");
    const text = "hallpass ".repeat(2_000_000);
    const file = join(temporary, "much");
    writeFileSync(file, text);
    const { port } = new URL(url);
    await execFileResult("sh", ["-c", `"${program("redis-cli")}" -p ${port} -x set much <"${file}"`]);
    const back = await execFileResult("sh", ["-c", `"${program("redis-cli")}" -p ${port} --raw get much`], { maxBuffer: 1 << 26 });
    rmSync(file);
    assert.ok(`${back} ` === text, `${back.length} of ${text.length} bytes came back, or others`);
  });

  test("the settings that make acknowledged writes durable are on", TIMEOUT, async (t) => {
    const [pg, maria, single] = await Promise.all([start(t, "postgres"), start(t, "mariadb"), start(t, "redis")]);
    const settings =
      "select string_agg(name || '=' || setting, ' ' order by name) from pg_settings where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses')";
    assert.equal(await sql.postgres(pg.url, settings), "fsync=on full_page_writes=on listen_addresses=127.0.0.1 synchronous_commit=on");
    assert.equal(
      await sql.mariadb(maria.url, "select @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@bind_address"),
      "1\t1\t127.0.0.1",
    );
    assert.equal(await redis(single.url, "config", "get", "appendfsync"), "appendfsync\nalways");
    assert.equal(await redis(single.url, "config", "get", "bind"), "bind\n127.0.0.1");
  });
});

describe("postgres-pair", TOGETHER, () => {
  test("the standby is synchronous, is promoted, and the address follows", TIMEOUT, async (t) => {
    const { prepare, put, words } = TALK.postgres;
    const pair = await start(t, "postgres-pair");
    const { dir, url } = pair;
    const [primary, standby] = [memberOf(pair, "primary"), memberOf(pair, "standby")];
    await prepare(url);
    await put(url, "both");
    await assert.rejects(put(standby.url, "no"), /read-only/);

    // Cut off from its standby the primary acknowledges nothing.
    await services("cut", dir, "standby", "--black-hole");
    await hangs(put(url, "unacknowledged", briefly));
    await services("mend", dir, "standby");
    await put(url, "acknowledged");

    await services("kill", dir, "primary");
    assert.equal(await rawConnection(url), "ECONNREFUSED");
    const promoted = await services("promote", dir);
    assert.equal(promoted, standby.url);
    assert.ok((await words(promoted)).includes("acknowledged"));
    await put(url, "after");
    assert.ok((await words(standby.direct)).includes("after"), "the address does not follow the primary");
    assert.equal((await services("status", dir)).direct, standby.direct);
    assert.match((await refused("promote", dir)).text, /primary already/);

    // The old primary comes back on its own address alone.
    await services("restart", dir, "primary");
    assert.ok(!(await words(primary.url)).includes("after"));
    assert.ok((await words(url)).includes("after"));
    await stop(pair);
  });

  test("both are killed and come back in step", TIMEOUT, async (t) => {
    const { prepare, put, words } = TALK.postgres;
    const { dir, url, members } = await start(t, "postgres-pair");
    await prepare(url);
    await put(url, "one");
    await services("kill", dir);
    await services("restart", dir);
    await put(url, "two");
    assert.deepEqual(await words(url), ["one", "two"]);
    assert.ok(await until(async () => (await words(members[1].url)).length === 2, { timeout: 10_000 }));
  });
});

describe("redis-pair", TOGETHER, () => {
  const follows = (url) => async () => (await redis(url, "info", "replication")).includes("master_link_status:up");

  test("a replica is promoted without what had not reached it, the address follows, the old primary follows as well", TIMEOUT, async (t) => {
    const { put, words } = TALK.redis;
    const pair = await start(t, "redis-pair");
    const { dir, url } = pair;
    const [primary, replica] = ["primary", "replica"].map((name) => `redis://127.0.0.1:${memberOf(pair, name).port}`);
    await put(url, "both");
    assert.ok(await until(async () => (await words(replica)).includes("both"), { timeout: 10_000 }));
    assert.match((await refused("promote", dir)).text, /the primary runs/);

    // Redis acknowledges what its replica does not have.
    await services("cut", dir, "replica", "--black-hole");
    await put(url, "lost");
    await services("kill", dir, "primary");
    assert.equal(await rawConnection(url), "ECONNREFUSED");
    assert.equal(await services("promote", dir), url);
    assert.deepEqual(await words(url), ["both"]);
    await put(url, "after");
    assert.match((await refused("promote", dir)).text, /primary already/);

    await services("mend", dir);
    await services("restart", dir, "primary");
    assert.ok(await until(follows(primary), { timeout: 10_000 }), "the old primary does not follow");
    assert.ok(await until(async () => (await words(primary)).includes("after"), { timeout: 10_000 }));
    assert.deepEqual(await words(primary), ["after", "both"]);
    await stop(pair);
  });
});

describe("snapshots", TOGETHER, () => {
  for (const kind of ["postgres", "mariadb", "redis"]) {
    test(`${kind}: what there was at that moment comes back, and nothing else`, TIMEOUT, async (t) => {
      const { prepare, put, words } = TALK[kind];
      const { dir, url } = await start(t, kind);
      await prepare(url);
      await put(url, "before");
      assert.match((await refused("restore", dir)).text, /there is no snapshot of primary/);
      await services("snapshot", dir);
      await put(url, "later");
      await services("restore", dir);
      assert.deepEqual(await words(url), ["before"]);
      await put(url, "after");
      // As often as one likes, and of a server that is down.
      await services("kill", dir);
      assert.match((await refused("snapshot", dir)).text, /primary is killed, not running/);
      await services("restore", dir);
      assert.deepEqual(await words(url), ["before"]);
      await stop({ dir });
    });
  }
});

describe("redis-cluster", TIMEOUT, () => {
  test("all slots answer, a replica takes over from a killed primary, the primary comes back", TIMEOUT, async (t) => {
    const cluster = await start(t, "redis-cluster");
    const { dir, url } = cluster;
    assert.match(url, /^redis\+cluster:\/\/127\.0\.0\.1:\d+,127\.0\.0\.1:\d+,127\.0\.0\.1:\d+$/);
    const seed = `redis://${url.split(",")[1]}`;
    const keys = Array.from({ length: 20 }, (_, at) => `key${at}`);
    for (const key of keys) assert.equal(await redis(url, "set", key, "1"), "OK");
    // A shard that is lost must not take the others with it.
    assert.equal(await redis(url, "config", "get", "cluster-require-full-coverage"), "cluster-require-full-coverage\nno");
    // Redirections lead through the proxies.
    const announced = (await redis(url, "cluster", "slots")).split("\n");
    for (const { port } of cluster.members) assert.ok(!announced.includes(`${port}`), "a redirection leads past the proxy");

    await services("kill", dir, "primary-1");
    const reads = () =>
      Promise.all(keys.map((key) => redis(seed, "get", key))).then(
        (all) => all.every((each) => each === "1"),
        () => false,
      );
    assert.ok(await until(reads, { timeout: 20_000, every: 50 }), "no failover");
    await services("restart", dir, "primary-1");
    assert.match(await redis(`redis://127.0.0.1:${memberOf(cluster, "primary-1").port}`, "info", "replication"), /role:slave/);
    await services("cut", dir, "primary-2", "--refuse");
    assert.equal(await rawConnection(seed), "ECONNREFUSED");
    assert.equal(await redis(url.replace(/,.*/, ""), "ping"), "PONG");
    await services("mend", dir);
    assert.ok(await until(reads, { timeout: 20_000, every: 100 }));
    await stop(cluster);
  });
});

describe("pgbouncer", TIMEOUT, () => {
  test("stands in front of a server, in transaction mode, and comes back", TIMEOUT, async (t) => {
    const { prepare, put, words } = TALK.postgres;
    const server = await start(t, "postgres");
    const bouncer = await start(t, "pgbouncer", "--postgres", server.url);
    await prepare(bouncer.url);
    await put(bouncer.url, "through");
    assert.deepEqual(await words(server.direct), ["through"]);
    assert.match(await sql.postgres(bouncer.direct.replace(/\/postgres$/, "/pgbouncer"), "show config"), /^pool_mode\|transaction\|/m);
    // The cut between the two is the server's.
    await services("cut", server.dir, "--black-hole");
    await hangs(words(bouncer.url, briefly));
    await services("mend", server.dir);
    await services("kill", bouncer.dir);
    assert.equal(await rawConnection(bouncer.url), "ECONNREFUSED");
    await services("restart", bouncer.dir);
    assert.deepEqual(await words(bouncer.url), ["through"]);
    assert.match((await refused("start", "pgbouncer")).text, /needs --postgres URL/);
  });
});

describe("directories", TIMEOUT, () => {
  test("a directory that was there stays, with what was in it; one that was not goes", TIMEOUT, async (t) => {
    const there = join(temporary, "there");
    await execFileResult("mkdir", ["-p", there]);
    writeFileSync(join(there, "mine"), "");
    const kept = await start(t, "redis", "--dir", there);
    assert.equal(kept.dir, there);
    assert.match((await refused("start", "redis", "--dir", there)).text, /already holds a redis/);
    await services("stop", there);
    assert.deepEqual(readdirSync(there), ["mine"]);
    const deep = join(temporary, "x".repeat(100), "new");
    const made = await start(t, "postgres", "--dir", deep);
    assert.equal(await sql.postgres(made.url, "select 1"), "1");
    await stop(made);
    assert.match((await refused("stop", deep)).text, /no instance in/);
  });

  test("logs and data files are kept where the tests' artifacts are", TIMEOUT, async () => {
    const artifacts = join(temporary, "artifacts");
    const once = async (kind, command) => {
      await execFileResult(SCRIPT, ["run", "--only", kind, "--", "sh", "-c", command], {
        cwd: temporary,
        env: { ...environment, HALLPASS_TEST_ARTIFACTS: "artifacts" },
      });
    };
    await once("redis", 'redis-cli -u "$HALLPASS_TEST_REDIS" set word treasure');
    await once("postgres", `"${SCRIPT}" start mariadb`);
    const kept = await execFileResult("grep", ["-rl", "treasure", artifacts]);
    assert.match(kept, /services\/redis-\d+\/primary\/appendonlydir\//);
    const places = readdirSync(join(artifacts, "services")).map((name) => join(artifacts, "services", name));
    assert.equal(places.length, 3);
    for (const place of places) assert.notEqual(readFileSync(join(place, "primary.log"), "utf8"), "");
  });

  test("a server that cannot start says so with its log and its name, and leaves nothing", TIMEOUT, async () => {
    const hidden = await fakeProgram("redis-server", "echo 'my disk is full' >&2; exit 3");
    const broken = await promisify(execFile)(SCRIPT, ["start", "redis"], {
      env: { ...environment, PATH: `${hidden}:${environment.PATH}` },
    }).then(
      () => assert.fail("started"),
      (error) => error,
    );
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /redis-server did not start: exit code 3/);
    assert.match(broken.stderr, /my disk is full/);
    await nothingLeft("a failed start");
  });
});

describe("programs and ports", TIMEOUT, () => {
  test("a port that somebody else took in the meantime is given up for another", TIMEOUT, async () => {
    const once = join(temporary, "once");
    const real = program("redis-server");
    const hidden = await fakeProgram(
      "redis-server",
      `[ -e "${once}" ] && exec "${real}" "$@"; : >"${once}"; echo 'bind: Address already in use'; exit 1`,
    );
    const pong = await execFileResult(SCRIPT, ["run", "--only", "redis", "--", "sh", "-c", 'redis-cli -u "$HALLPASS_TEST_REDIS" ping'], {
      env: { ...environment, PATH: `${hidden}:${environment.PATH}` },
    });
    assert.equal(pong, "PONG");
    assert.ok(existsSync(once));
  });

  test("a missing program is named with its package", TIMEOUT, async () => {
    const hidden = await fakeProgram("node", `exec "${process.execPath}" "$@"`);
    const missing = await promisify(execFile)(process.execPath, [SCRIPT, "start", "redis"], { env: { ...environment, PATH: hidden } }).then(
      () => assert.fail("started"),
      (error) => error,
    );
    assert.match(missing.stderr, /redis-(server|cli) is missing: apt-get install redis-server/);
  });
});

describe("run", TIMEOUT, () => {
  /** `run` with a command that starts another, says both process ids, and waits. */
  async function running(t, kinds, command = "wait") {
    const child = spawn(
      SCRIPT,
      ["run", "--only", kinds, "--", "sh", "-c", `sleep 1000 & echo "$$ $! $HALLPASS_SERVICES_RUN"; ${command}`],
      { env: environment, stdio: ["ignore", "pipe", "pipe"] },
    );
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (more) => (text += more));
    child.stderr.resume();
    assert.ok(await until(() => text.includes("\n"), { timeout: 60_000 }), "the command does not start");
    const [pid, grandchild, root] = text.split("\n")[0].split(" ");
    const ended = new Promise((resolve) => child.once("exit", (code, by) => resolve(code ?? by)));
    t.after(() => [Number(pid), Number(grandchild)].filter(alive).forEach((each) => process.kill(each, "SIGKILL")));
    return { child, command: [Number(pid), Number(grandchild)], root, ended };
  }

  test("gives the URLs that were asked for, no others, and the command's exit code", TIMEOUT, async () => {
    const stale = { ...environment, HALLPASS_TEST_MARIADB: "mysql://elsewhere" };
    const all = await execFileResult(SCRIPT, ["run", "--only", "postgres,redis,redis-cluster", "--", "env"], { env: stale });
    const variables = all.split("\n").filter((line) => line.startsWith("HALLPASS_TEST_"));
    assert.deepEqual(variables.map((line) => line.replace(/\d{5}/g, "PORT")).sort(), [
      "HALLPASS_TEST_POSTGRES=postgres://postgres@127.0.0.1:PORT/postgres",
      "HALLPASS_TEST_REDIS=redis://127.0.0.1:PORT",
      "HALLPASS_TEST_REDIS_CLUSTER=redis+cluster://127.0.0.1:PORT,127.0.0.1:PORT,127.0.0.1:PORT",
    ]);
    const check = 'redis-cli -u "$HALLPASS_TEST_REDIS" ping && exit 7';
    const seven = await promisify(execFile)(SCRIPT, ["run", "--only", "redis", "--", "sh", "-c", check], { env: environment }).catch(
      (error) => error,
    );
    assert.equal(seven.code, 7);
    assert.equal(seven.stdout, "PONG\n");
    await nothingLeft("run");
  });

  test("wrong usage is exit code 2, a command that is not there 127", TIMEOUT, async () => {
    for (const args of [
      ["run"],
      ["run", "true"],
      ["run", "--only", "oracle", "--", "true"],
      ["start", "oracle"],
      ["start"],
      ["cut", "/", "--black-hole", "--refuse"],
      ["dance"],
      [],
    ]) {
      assert.equal((await refused(...args)).code, 2, args.join(" "));
    }
    assert.equal((await refused("run", "--only", "redis", "--", "/nowhere/at/all")).code, 127);
    await nothingLeft("run without a command");
  });

  for (const [name, code] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ]) {
    test(`${name} ends the command and everything else`, TIMEOUT, async (t) => {
      const { child, command, ended } = await running(t, "redis");
      child.kill(name);
      assert.equal(await ended, code);
      assert.ok(!command.some(alive), "the command or its child goes on");
      await nothingLeft(name);
    });
  }

  test("what the command started can end in good order", TIMEOUT, async (t) => {
    const marks = ["ready", "ended"].map((name) => join(temporary, name));
    const inner = `trap 'echo >"${marks[1]}"; exit' TERM; echo >"${marks[0]}"; while :; do sleep 0.1; done`;
    const { child, ended } = await running(t, "redis", `sh -c '${inner.replaceAll("'", "'\\''")}'; exit 1`);
    assert.ok(await until(() => existsSync(marks[0]), { timeout: 10_000 }));
    child.kill("SIGTERM");
    assert.equal(await ended, 143);
    assert.ok(existsSync(marks[1]), "killed, not asked to end");
    for (const mark of marks) rmSync(mark);
  });

  test("kill -9 of the script ends the command, every server, and what the command started with start", TIMEOUT, async (t) => {
    const { child, command, root, ended } = await running(
      t,
      "postgres,mariadb,redis",
      `"${SCRIPT}" start redis >/dev/null; "${SCRIPT}" freeze "$HALLPASS_SERVICES_RUN/postgres"; echo ready >"$HALLPASS_SERVICES_RUN/../ready"; sleep 1000`,
    );
    assert.ok(await until(() => existsSync(join(temporary, "ready")), { timeout: 60_000 }));
    rmSync(join(temporary, "ready"));
    assert.ok(processesIn(root).length >= 5);
    const segments = async () => (await execFileResult("ipcs", ["-m"])).split("\n").length;
    const before = await segments();
    child.kill("SIGKILL");
    assert.equal(await ended, "SIGKILL");
    assert.ok(await until(() => !command.some(alive), { timeout: 10_000 }), "the command goes on");
    await nothingLeft("kill -9");
    assert.ok(await until(async () => (await segments()) === before - 1, { timeout: 5_000 }), "a shared memory segment is left");
  });

  test("kill -9 of the script and of its watcher: the kernel ends the servers", TIMEOUT, async (t) => {
    const { child, command, root, ended } = await running(t, "postgres,mariadb,redis,redis-cluster");
    assert.ok(processesIn(root).length >= 9);
    const watcher = treeOf(child.pid).find((pid) => readFileSync(`/proc/${pid}/cmdline`, "latin1").endsWith("\0watch\0"));
    process.kill(watcher, "SIGKILL");
    child.kill("SIGKILL");
    await ended;
    const gone = await until(() => processesIn(root).length === 0, { timeout: 10_000 });
    for (const pid of command) process.kill(pid, "SIGKILL");
    removeSharedMemory(join(root, "postgres", "primary"));
    rmSync(root, { recursive: true });
    assert.ok(gone, "a server outlives its parent");
  });

  test("what the command started ends with the run, and its servers are gone when the run is", TIMEOUT, async () => {
    const command = `"${SCRIPT}" start mariadb; "${SCRIPT}" start redis --dir "${temporary}/own"; "${SCRIPT}" freeze "${temporary}/own"`;
    const text = await execFileResult(SCRIPT, ["run", "--only", "redis", "--", "sh", "-c", command]);
    assert.equal(text.split("\n").length, 3);
    assert.deepEqual(processesIn(temporary), []);
    assert.ok(!existsSync(join(temporary, "own")));
    await nothingLeft("run");
  });

  test("kill -9 of the process behind start ends its servers, and stop clears the rest", TIMEOUT, async (t) => {
    const { dir } = await start(t, "postgres-pair");
    await services("freeze", dir, "standby");
    const { pid } = JSON.parse(readFileSync(join(dir, "services.json"), "utf8"));
    process.kill(pid, "SIGKILL");
    await nothingLeft("kill -9 of the host");
    assert.match((await refused("status", dir)).text, /no instance in/);
  });

  test("an instance with an owner ends with it", TIMEOUT, async (t) => {
    const owner = spawn("sleep", ["1000"]);
    const { dir } = await start(t, "redis", "--owner", `${owner.pid}`);
    owner.kill("SIGKILL");
    await nothingLeft("the owner's end");
  });

  test("runs at once do not meet", TIMEOUT, async () => {
    const counts = await Promise.all(
      Array.from({ length: 4 }, () =>
        execFileResult(SCRIPT, ["run", "--only", "redis", "--", "sh", "-c", 'redis-cli -u "$HALLPASS_TEST_REDIS" incr n']),
      ),
    );
    assert.deepEqual(counts, ["1", "1", "1", "1"]);
  });

  test("without Valkey everything else runs and it is said; asked for by name it is an error", TIMEOUT, async () => {
    const hidden = await fakeProgram("python3", "echo 'no such package' >&2; exit 1");
    const env = { ...environment, PATH: `${hidden}:${environment.PATH}`, CARGO_TARGET_DIR: join(temporary, "target") };
    const { stdout, stderr } = await promisify(execFile)(SCRIPT, ["run", "--", "env"], {
      env: { ...env, HALLPASS_TEST_VALKEY: "redis://elsewhere" },
    });
    assert.match(stderr, /VALKEY IS NOT TESTED: .*no such package/);
    assert.deepEqual(
      stdout
        .split("\n")
        .filter((line) => line.startsWith("HALLPASS_TEST_"))
        .map((line) => line.replace(/=.*/, ""))
        .sort(),
      ["HALLPASS_TEST_MARIADB", "HALLPASS_TEST_POSTGRES", "HALLPASS_TEST_REDIS", "HALLPASS_TEST_REDIS_CLUSTER"],
    );
    const named = await promisify(execFile)(SCRIPT, ["run", "--only", "valkey", "--", "true"], { env }).then(
      () => assert.fail("ran"),
      (error) => error,
    );
    assert.equal(named.code, 1);
    assert.match(named.stderr, /valkey cannot be installed .*python3-pip/);
    await nothingLeft("a run that failed to start");
  });
});
