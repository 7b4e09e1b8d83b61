// One server process of an instance: started, killed, frozen, thawed and started again.

import { spawn } from "node:child_process";
import { closeSync, chownSync, cpSync, mkdirSync, openSync, rmSync } from "node:fs";
import { freePort } from "./ports.mjs";
import { endOfLog, Problem } from "./problem.mjs";
import { alive, isStopped, killAllIn, processesIn, signal, until } from "./processes.mjs";
import { asUser, ENVIRONMENT, output, program } from "./programs.mjs";

// A machine that compiles on every core meanwhile makes a start slow; one that takes longer than this does not come.
const START_MS = 60_000;
const STOP_MS = 10_000;
const PORT_TRIES = 5;

// The kernel kills the server when its parent, this program, dies. A parent that died before this was arranged is noticed by
// the parent's number.
const WITH_PARENT = 'parent="$1"; shift; [ "$PPID" = "$parent" ] || exit 1; exec "$@"';

/** Where the snapshot of a member lies that has this directory. */
export const copyOf = (dir) => `${dir}.snapshot`;

const copyTree = (from, to) => cpSync(from, to, { recursive: true, preserveTimestamps: true, filter: (path) => !path.endsWith(".sock") });

export class Member {
  child;
  state = "new";
  port = 0;
  proxies = [];

  /**
   * `spec`: name; dir, the working directory, which no other member shares; log; user from `account`; ports, the names of
   * further ports beside `port`; command(member), program and arguments; answers(member), whether the server behind the port is
   * this one and serves; stopSignal.
   */
  constructor(spec) {
    this.spec = spec;
    this.name = spec.name;
    this.dir = spec.dir;
    this.#makeDirectory();
  }

  #makeDirectory() {
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    if (this.spec.user !== undefined) chownSync(this.dir, this.spec.user.uid, this.spec.user.gid);
  }

  get copy() {
    return copyOf(this.dir);
  }

  /** Copies its directory, in which nobody may write meanwhile; in place of an earlier copy. */
  copyData() {
    rmSync(this.copy, { recursive: true, force: true });
    copyTree(this.dir, this.copy);
  }

  /** Puts the copy in the place of what there is. */
  async restoreData() {
    rmSync(this.dir, { recursive: true, force: true });
    this.#makeDirectory();
    copyTree(this.copy, this.dir);
    const { user } = this.spec;
    if (user !== undefined) await output(["chown", "-R", `${user.uid}:${user.gid}`, this.dir]);
  }

  get pid() {
    return this.child?.pid;
  }

  /** The first start: takes free ports, and others when somebody else was quicker. */
  async begin() {
    for (let tried = 1; ; tried += 1) {
      this.port = await freePort();
      for (const name of this.spec.ports ?? []) this[name] = await freePort();
      try {
        return await this.start();
      } catch (error) {
        if (tried === PORT_TRIES || !/already in use/i.test(endOfLog(this.spec.log))) throw error;
      }
    }
  }

  /** Starts the server and waits until it answers. */
  async start() {
    const [name, ...args] = this.spec.command(this);
    const file = name.includes("/") ? name : program(name);
    const log = openSync(this.spec.log, "a");
    const [setpriv, ...drop] = [program("setpriv"), ...asUser(this.spec.user).slice(1, -1)];
    const child = spawn(setpriv, [...drop, "--pdeathsig=KILL", "--", "sh", "-c", WITH_PARENT, "sh", `${process.pid}`, file, ...args], {
      cwd: this.dir,
      env: { ...ENVIRONMENT, HOME: this.dir },
      stdio: ["ignore", log, log],
      // A session of its own: the terminal's ^C is for the command under test and for us, not for the servers.
      detached: true,
    });
    closeSync(log);
    this.child = child;
    this.state = "starting";
    let failure;
    child.once("error", (error) => (failure = error.message));
    child.once("exit", (code, by) => {
      failure ??= by === null ? `exit code ${code}` : by;
      if (this.child !== child) return;
      if (this.state !== "killed" && this.state !== "stopped") this.state = `exited (${failure})`;
      for (const proxy of this.proxies) proxy.down(true);
    });
    for (const proxy of this.proxies) await proxy.down(false);
    const answered = await until(async () => failure !== undefined || (await this.spec.answers(this).catch(() => false)), {
      timeout: START_MS,
    });
    if (failure === undefined && answered) {
      this.state = "running";
      return;
    }
    await this.kill();
    const why = failure ?? `no answer on port ${this.port} within ${START_MS / 1000} s`;
    throw new Problem(`${this.name}: ${file} did not start: ${why}\nend of ${this.spec.log}:\n${endOfLog(this.spec.log)}`);
  }

  /** kill -9 to the server and all its helpers. */
  async kill() {
    this.state = "killed";
    if (this.child !== undefined) signal(this.child.pid, "SIGKILL");
    await killAllIn(this.dir);
    await this.#gone(STOP_MS);
  }

  /** Stops every process of the server where it is. */
  async freeze() {
    this.#needs("running");
    signal(this.child.pid, "SIGSTOP");
    const done = await until(() => this.#helpersStopped(), { timeout: STOP_MS, every: 2 });
    if (!done) throw new Problem(`${this.name} does not freeze`);
    this.state = "frozen";
  }

  /** The server starts no more helpers once it has stopped itself; those that it had are stopped after it. */
  #helpersStopped() {
    if (!isStopped(this.child.pid)) return false;
    const running = processesIn(this.dir).filter((pid) => !isStopped(pid));
    for (const pid of running) signal(pid, "SIGSTOP");
    return running.length === 0;
  }

  thaw() {
    this.#needs("frozen");
    for (const pid of processesIn(this.dir)) signal(pid, "SIGCONT");
    this.state = "running";
  }

  /** Ends it in an orderly way if it runs, then starts it on the same port with the same data. */
  async restart() {
    if (this.state === "frozen") this.thaw();
    if (this.child !== undefined && alive(this.child.pid)) {
      this.state = "stopped";
      signal(this.child.pid, this.spec.stopSignal ?? "SIGTERM");
      await this.#gone(STOP_MS);
    }
    await this.kill();
    await this.start();
  }

  async #gone(timeout) {
    const child = this.child;
    if (child === undefined) return;
    await until(() => child.exitCode !== null || child.signalCode !== null, { timeout, every: 5 });
  }

  #needs(state) {
    if (this.state !== state) throw new Problem(`${this.name} is ${this.state}, not ${state}`);
  }

  report() {
    return { name: this.name, port: this.port, pid: this.pid, state: this.state };
  }
}
