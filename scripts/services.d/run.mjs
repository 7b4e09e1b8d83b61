// `run`: instances for the length of one command.

import { spawn } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { inDirectory, serve } from "./control.mjs";
import { LIFELINE, newDirectory } from "./host.mjs";
import { startInstance } from "./kinds.mjs";
import { Problem } from "./problem.mjs";
import { alive, signal, treeOf, until } from "./processes.mjs";
import { valkeyServer } from "./valkey.mjs";
import { startWatcher } from "./watch.mjs";

export const RUNNABLE = ["postgres", "mariadb", "redis", "redis-cluster", "valkey"];

const VARIABLE = (kind) => `HALLPASS_TEST_${kind.toUpperCase().replace("-", "_")}`;
const COMMAND_END_MS = 5_000;
const GRACE_MS = 2_000;
const OTHERS_END_MS = 20_000;

const say = (text) => process.stderr.write(`services: ${text}\n`);

/** Instances that the command starts with `start` hold on to this socket and end when it closes. */
function lifeline(dir) {
  const holding = new Set();
  const close = async () => {
    server.close();
    for (const socket of holding) socket.end();
    if (!(await until(() => holding.size === 0, { timeout: OTHERS_END_MS })))
      say(`${holding.size} instances that the command started do not end`);
  };
  const server = createServer((socket) => {
    holding.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => holding.delete(socket));
    socket.resume();
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    inDirectory(dir, () => server.listen(LIFELINE, () => resolve({ close })));
  });
}

/** Valkey is left out, and it is said so, where it cannot be had: unless it was asked for by name. */
async function kindsToStart(only) {
  const kinds = only ?? RUNNABLE;
  if (only !== undefined || !kinds.includes("valkey")) return kinds;
  try {
    await valkeyServer();
    return kinds;
  } catch (error) {
    say(`VALKEY IS NOT TESTED: ${error.message}`);
    return kinds.filter((kind) => kind !== "valkey");
  }
}

/** Runs the command with the named instances (all without a list); answers its exit code. */
export async function run(only, command) {
  const root = newDirectory(tmpdir());
  const watcher = startWatcher();
  watcher.tell({ directory: root });
  const instances = [];
  let interrupted;
  let child;
  // The command and what it had started when the signal came.
  let tree = [];
  const interrupt = (name) => {
    interrupted ??= name;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    if (tree.length === 0) setTimeout(() => killAll(tree), COMMAND_END_MS).unref();
    tree = [...new Set([...tree, ...treeOf(child.pid)])];
    for (const pid of tree) signal(pid, name);
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, interrupt);

  const line = await lifeline(root);
  try {
    const started = performance.now();
    const kinds = await kindsToStart(only);
    const environment = { ...process.env, HALLPASS_SERVICES_RUN: root };
    for (const kind of RUNNABLE) delete environment[VARIABLE(kind)];
    const outcomes = await Promise.allSettled(
      kinds.map(async (kind) => {
        const dir = join(root, kind);
        mkdirSync(dir, { mode: 0o711 });
        watcher.tell({ instance: dir, made: true });
        const instance = await startInstance(kind, dir, true, { proxied: false });
        instances.push(instance);
        await serve(instance, () => Promise.reject(new Problem("it belongs to `run` and stops with it")));
        // Without the proxy: it costs time, and a fault belongs on an instance of a test's own.
        environment[VARIABLE(kind)] = instance.urls().direct;
      }),
    );
    const failed = outcomes.find(({ status }) => status === "rejected");
    if (failed !== undefined) throw failed.reason;
    say(`${kinds.join(", ")} after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    if (interrupted !== undefined) return 128 + constants.signals[interrupted];

    child = spawn(command[0], command.slice(1), { stdio: "inherit", env: environment });
    const ended = new Promise((resolve) => {
      child.once("error", (error) => {
        say(`cannot run ${command[0]}: ${error.message}`);
        resolve(error.code === "ENOENT" ? 127 : 126);
      });
      child.once("exit", (code, by) => resolve(code ?? 128 + constants.signals[by]));
    });
    if (child.pid !== undefined) watcher.tell({ command: child.pid });
    const code = await ended;
    // What ignores the signal (a shell's background jobs ignore SIGINT) does not outlive the command.
    if (!(await until(() => !tree.some(alive), { timeout: GRACE_MS }))) killAll(tree);
    return interrupted === undefined ? code : 128 + constants.signals[interrupted];
  } finally {
    await line.close();
    await Promise.all(instances.map((instance) => instance.stop().catch((error) => say(`${instance.dir}: ${error.message}`))));
    rmSync(root, { recursive: true, force: true });
    await watcher.dismiss();
  }
}

const killAll = (pids) => {
  for (const pid of pids.filter(alive)) signal(pid, "SIGKILL");
};
