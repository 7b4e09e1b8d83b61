// `start`: the instance is held by a process of its own, in the background, until `stop`.

import { spawn } from "node:child_process";
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, realpathSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { inDirectory, request, serve } from "./control.mjs";
import { readNote } from "./instance.mjs";
import { startInstance } from "./kinds.mjs";
import { Problem } from "./problem.mjs";
import { alive, until } from "./processes.mjs";
import { clearInstance, startWatcher } from "./watch.mjs";

const SCRIPT = fileURLToPath(new URL("../services", import.meta.url));
export const LIFELINE = "lifeline.sock";
const END_MS = 20_000;
const OWNER_POLL_MS = 500;

/** A new directory for instances. Servers run under accounts of their own and must get through to their part of it. */
export function newDirectory(parent) {
  const dir = realpathSync(mkdtempSync(join(parent, "hallpass-services.")));
  chmodSync(dir, 0o711);
  return dir;
}

function directoryFor(wanted) {
  if (wanted === undefined) return [newDirectory(process.env.HALLPASS_SERVICES_RUN ?? tmpdir()), true];
  const dir = resolve(wanted);
  const made = !existsSync(dir);
  mkdirSync(dir, { recursive: true, mode: 0o711 });
  const note = readNote(dir);
  if (note !== undefined && alive(note.pid)) throw new Problem(`${dir} already holds a ${note.kind}: stop it first`);
  if (note !== undefined) throw new Problem(`${dir} holds the remains of a ${note.kind}: clear them with \`scripts/services stop ${dir}\``);
  return [realpathSync(dir), made];
}

/** Starts a host process and answers its report. */
export async function start(kind, { dir: wanted, ...options }) {
  const [dir, made] = directoryFor(wanted);
  const host = spawn(process.execPath, [SCRIPT, "host", JSON.stringify({ kind, dir, made, options })], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    detached: true,
  });
  let text = "";
  host.stdio[3].setEncoding("utf8");
  for await (const chunk of host.stdio[3]) text += chunk;
  if (text === "") throw new Problem(`the process that holds the ${kind} ended before it was ready`);
  const { report, error } = JSON.parse(text);
  if (error !== undefined) throw new Problem(error);
  host.unref();
  return report;
}

/** The host process itself. */
export async function host({ kind, dir, made, options }) {
  // Whoever asked may remove the directory it was in.
  process.chdir("/");
  const watcher = startWatcher();
  watcher.tell({ instance: dir, made });
  const report = reporter();
  process.on("uncaughtException", (error) => {
    report({ error: error.stack });
    // The watcher clears up.
    process.exit(1);
  });
  const starting = startInstance(kind, dir, made, options);
  let ending;
  const end = () => (ending ??= starting.then((instance) => instance.stop()).then(() => watcher.dismiss()));
  const leave = () => process.exit(0);
  const endAndLeave = () => end().then(leave, () => process.exit(1));
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, endAndLeave);
  tieToRun(dir, endAndLeave);
  if (options.owner !== undefined) tieToProcess(Number(options.owner), endAndLeave);
  try {
    const instance = await starting;
    await serve(instance, end, leave);
    report({ report: instance.report() });
  } catch (error) {
    report({ error: error instanceof Problem ? error.message : error.stack });
    await watcher.dismiss();
    process.exit(1);
  }
}

/** Says how the start went, once, to the command that waits for it. */
function reporter() {
  let open = true;
  return (message) => {
    if (!open) return;
    open = false;
    try {
      writeSync(3, JSON.stringify(message));
      closeSync(3);
    } catch {
      // Whoever asked is gone; `stop` or the end of the run clears up.
    }
  };
}

/** Under `run`, the instance ends when that does, however it does. */
function tieToRun(dir, end) {
  const run = process.env.HALLPASS_SERVICES_RUN;
  if (run === undefined) return;
  const lifeline = inDirectory(run, () => connect({ path: LIFELINE, allowHalfOpen: true }));
  lifeline.on("error", end);
  // Our side stays open until this process is gone: the run waits for that.
  lifeline.on("end", end);
  lifeline.write(`${dir}\n`);
  lifeline.resume();
}

function tieToProcess(owner, end) {
  const timer = setInterval(() => {
    if (alive(owner)) return;
    clearInterval(timer);
    end();
  }, OWNER_POLL_MS);
}

/** Stops the instance in `dir`, also when the process that held it is gone. */
export async function stop(dir) {
  const place = resolve(dir);
  const note = readNote(place);
  if (note === undefined) throw new Problem(`no instance in ${place}`);
  if (alive(note.pid)) {
    await request(place, { verb: "stop" });
    if (!(await until(() => !alive(note.pid), { timeout: END_MS })))
      throw new Problem(`process ${note.pid}, which held ${place}, does not end`);
  } else {
    await clearInstance(place, note.made);
  }
  return { dir: place, stopped: true };
}
