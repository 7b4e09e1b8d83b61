// The watcher: a process of its own that outlives the one which holds the instances and clears up after it, should that be
// killed with no chance to do so itself. The kernel kills the servers then; what remains are helpers that had been frozen,
// directories, and the command under test.

import { spawn } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { removeInstance } from "./instance.mjs";
import { killAllIn, signal, treeOf, until } from "./processes.mjs";
import { removeSharedMemory } from "./shared-memory.mjs";

const SCRIPT = fileURLToPath(new URL("../services", import.meta.url));
const DISMISS_MS = 5_000;

/** Starts the watcher. `tell` says what to clear up: {instance: dir, made}, {directory: dir} or {command: pid}. */
export function startWatcher() {
  const child = spawn(process.execPath, [SCRIPT, "watch"], { stdio: ["pipe", "ignore", "ignore"], detached: true, cwd: "/" });
  child.stdin.on("error", () => {});
  child.unref();
  child.stdin.unref?.();
  return {
    tell: (what) => child.stdin.write(`${JSON.stringify(what)}\n`),
    /** Everything was cleared up in good order. */
    dismiss: async () => {
      child.stdin.end(`${JSON.stringify({ dismissed: true })}\n`);
      await until(() => child.exitCode !== null || child.signalCode !== null, { timeout: DISMISS_MS, every: 5 });
    },
  };
}

const members = (dir) => (existsSync(dir) ? readdirSync(dir).filter((name) => statSync(join(dir, name)).isDirectory()) : []);

/** Kills what runs in an instance's directory and removes it, or what the instance put there. */
export async function clearInstance(dir, made) {
  const names = members(dir);
  await Promise.all(names.map((name) => killAllIn(join(dir, name))));
  for (const name of names) removeSharedMemory(join(dir, name));
  removeInstance(dir, made, names);
}

export async function watch() {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => {});
  const instances = new Map();
  const directories = new Set();
  let command;
  for await (const line of createInterface({ input: process.stdin })) {
    const told = JSON.parse(line);
    if (told.dismissed) return;
    if (told.instance !== undefined) instances.set(told.instance, told.made);
    if (told.directory !== undefined) directories.add(told.directory);
    if (told.command !== undefined) command = told.command;
  }
  if (command !== undefined) for (const pid of treeOf(command)) signal(pid, "SIGKILL");
  await Promise.all([...instances].map(([dir, made]) => clearInstance(dir, made).catch(() => {})));
  for (const dir of directories) rmSync(dir, { recursive: true, force: true });
}
