// A directory with the servers of one kind in it, the proxies in front of them, and what can be done to them.

import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { Problem } from "./problem.mjs";
import { copyOf } from "./member.mjs";
import { killAllIn } from "./processes.mjs";
import { CUTS, Proxy } from "./proxy.mjs";
import { removeSharedMemory } from "./shared-memory.mjs";

/** What an instance writes about itself beside its members' directories. */
export const NOTE = "services.json";
export const SOCKET = "control.sock";

const ARTIFACTS = process.env.HALLPASS_TEST_ARTIFACTS ? resolve(process.env.HALLPASS_TEST_ARTIFACTS) : undefined;

export class Instance {
  members = [];
  proxies = [];

  constructor(kind, dir, made) {
    this.kind = kind;
    this.dir = dir;
    this.made = made;
    this.logs = ARTIFACTS;
    writeFileSync(join(dir, NOTE), JSON.stringify({ kind, made, pid: process.pid }));
  }

  /** A name that no other instance has, for what is kept after the end. */
  get keptName() {
    return `${this.kind}-${process.pid}`;
  }

  log(name) {
    if (this.logs === undefined) return join(this.dir, `${name}.log`);
    const directory = join(this.logs, "services", this.keptName);
    mkdirSync(directory, { recursive: true });
    return join(directory, `${name}.log`);
  }

  add(member) {
    this.members.push(member);
    return member;
  }

  /** Puts a proxy in front of a member. */
  async front(member) {
    const proxy = await new Proxy(member).open();
    this.proxies.push(proxy);
    member.proxies.push(proxy);
    return proxy;
  }

  /** The members that a command means: one by name, or all; of all, those in `state` if any is. */
  chosen(name, state) {
    if (name === undefined) {
      const fitting = this.members.filter((each) => each.state === state);
      return fitting.length === 0 ? this.members : fitting;
    }
    const member = this.members.find((each) => each.name === name);
    if (member === undefined)
      throw new Problem(`${this.kind} has no member ${name}: it has ${this.members.map((each) => each.name).join(", ")}`);
    return [member];
  }

  async kill(name) {
    await Promise.all(this.chosen(name).map((member) => member.kill()));
  }

  async freeze(name) {
    for (const member of this.chosen(name, "running")) await member.freeze();
  }

  async thaw(name) {
    for (const member of this.chosen(name, "frozen")) member.thaw();
  }

  async restart(name) {
    await Promise.all(this.chosen(name).map((member) => member.restart()));
    await this.settle?.();
  }

  async promote() {
    throw new Problem(`${this.kind} has no standby to promote: postgres-pair and redis-pair have`);
  }

  /** Copies the data of all servers as it is at one moment: they stand still meanwhile, as for the snapshot of a disk. */
  async snapshot() {
    for (const member of this.members) if (member.state !== "running") throw new Problem(`${member.name} is ${member.state}, not running`);
    const frozen = [];
    try {
      for (const member of this.members) {
        await member.freeze();
        frozen.push(member);
      }
      for (const member of this.members) member.copyData();
    } finally {
      for (const member of frozen) member.thaw();
    }
  }

  /** kill -9 to all servers; they start again, on the same ports, with the data of the last snapshot. */
  async restore() {
    for (const member of this.members) if (!existsSync(member.copy)) throw new Problem(`there is no snapshot of ${member.name}`);
    await this.kill();
    for (const member of this.members) await member.restoreData();
    await this.restart();
  }

  async cut(how, name) {
    if (CUTS[how] === undefined) throw new Problem(`unknown cut ${how}`);
    for (const proxy of this.#before(name)) await proxy.set(how);
  }

  async mend(name) {
    for (const proxy of this.#before(name)) await proxy.set("pass");
  }

  #before(name) {
    const members = this.chosen(name);
    return this.proxies.filter((proxy) => members.includes(proxy.target) || members.includes(proxy.other));
  }

  /** Kills everything, keeps the data files where the tests' artifacts are, and removes what it made. */
  async stop() {
    await Promise.all(this.members.map((member) => member.kill().catch(() => killAllIn(member.dir))));
    for (const proxy of this.proxies) await proxy.close();
    for (const member of this.members) {
      removeSharedMemory(member.dir);
      if (this.logs !== undefined) this.#keep(member.dir);
      for (const directory of [member.dir, member.copy]) rmSync(directory, { recursive: true, force: true });
    }
    removeInstance(
      this.dir,
      this.made,
      this.members.map((member) => member.name),
    );
  }

  #keep(directory) {
    const kept = join(this.logs, "services", this.keptName, basename(directory));
    try {
      renameSync(directory, kept);
    } catch (error) {
      if (error.code !== "EXDEV") throw error;
      cpSync(directory, kept, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    }
  }

  report() {
    return { dir: this.dir, kind: this.kind, ...this.urls(), members: this.members.map((member) => member.report()) };
  }
}

/** Removes an instance's directory if it was made for it, else the files that the instance put there. */
export function removeInstance(dir, made, members) {
  if (made) {
    rmSync(dir, { recursive: true, force: true });
    return;
  }
  for (const name of [...members, ...members.flatMap((each) => [`${each}.log`, copyOf(each)]), NOTE, SOCKET])
    rmSync(join(dir, name), { recursive: true, force: true });
}

/** What `dir` says about itself; nothing when no instance is there. */
export function readNote(dir) {
  const path = join(dir, NOTE);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : undefined;
}
