// Processes by what they work on. A server's helpers (PostgreSQL's backends each start a session of their own) belong to it
// because their working directory is its data directory: this also finds those whose parent has died.

import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const pids = () =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** State letter and parent of a process; nothing when it is gone. */
function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state, parent] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

/** Whether the process runs (a zombie does not). */
export function alive(pid) {
  const now = stat(pid);
  return now !== undefined && now.state !== "Z" && now.state !== "X";
}

/** Whether the process is stopped by SIGSTOP. */
export const isStopped = (pid) => ["T", "t"].includes(stat(pid)?.state);

/** The processes whose working directory is `directory` or below it. */
export function processesIn(directory) {
  return pids().filter((pid) => {
    if (pid === process.pid) return false;
    try {
      // A removed directory reads as "/path (deleted)".
      const cwd = readlinkSync(`/proc/${pid}/cwd`).replace(/ \(deleted\)$/, "");
      return (cwd === directory || cwd.startsWith(`${directory}/`)) && alive(pid);
    } catch {
      return false;
    }
  });
}

/** The process and everything it started, as far as the chain of parents is unbroken. */
export function treeOf(root) {
  const children = new Map();
  for (const pid of pids()) {
    const parent = stat(pid)?.parent;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (let at = 0; at < tree.length; at += 1) tree.push(...(children.get(tree[at]) ?? []));
  return tree.filter(alive);
}

/** Sends a signal; a process that is gone is no error. */
export function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** kill -9 to every process in the directory, again until none is left (one may have been starting another). */
export async function killAllIn(directory, timeout = 10_000) {
  const end = performance.now() + timeout;
  for (;;) {
    const left = processesIn(directory);
    if (left.length === 0) return;
    for (const pid of left) signal(pid, "SIGKILL");
    if (performance.now() > end) throw new Error(`processes ${left.join(", ")} in ${directory} do not die`);
    await sleep(5);
  }
}

/** Asks `condition` until it answers something true; false when the time is over first. */
export async function until(condition, { timeout, every = 20 }) {
  const end = performance.now() + timeout;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (performance.now() > end) return false;
    await sleep(every);
  }
}
