// Where the installed programs are, what to install when one is missing, and the account a server runs under.

import { execFile } from "node:child_process";
import { accessSync, constants, readFileSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { Problem } from "./problem.mjs";

const run = promisify(execFile);

const PACKAGES = {
  postgres: "postgresql",
  initdb: "postgresql",
  psql: "postgresql",
  mariadbd: "mariadb-server",
  "mariadb-install-db": "mariadb-server",
  mariadb: "mariadb-server",
  "redis-server": "redis-server",
  "redis-cli": "redis-server",
  pgbouncer: "pgbouncer",
  setpriv: "util-linux",
};

const executable = (path) => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** Debian keeps PostgreSQL's programs out of PATH, one directory per version; its `psql` in PATH is a slow wrapper. */
function postgresDirectories() {
  const root = "/usr/lib/postgresql";
  try {
    return readdirSync(root)
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(root, version, "bin"));
  } catch {
    return [];
  }
}

/** The program's path, or nothing. */
export function find(name) {
  const path = (process.env.PATH ?? "").split(delimiter);
  for (const directory of [...postgresDirectories(), ...path, "/usr/sbin", "/usr/local/sbin"]) {
    if (directory !== "" && executable(join(directory, name))) return join(directory, name);
  }
  return undefined;
}

/** The program's path. Throws what to install when it is missing. */
export function program(name) {
  const path = find(name);
  if (path === undefined) throw new Problem(`${name} is missing: apt-get install ${PACKAGES[name] ?? name}`);
  return path;
}

/** Child processes see no setting of ours or of another server (PGDATA, MYSQL_HOME). */
export const ENVIRONMENT = { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C.UTF-8" };

/** Runs a client or an installer to its end; answers what it printed. Throws with its own words when it fails. */
export async function output(command, { timeout = 30_000, user, cwd, env = ENVIRONMENT } = {}) {
  const [file, ...args] = [...asUser(user), ...command];
  try {
    const running = run(file, args, { timeout, killSignal: "SIGKILL", cwd, env, maxBuffer: 1 << 24 });
    running.child.stdin.end();
    return (await running).stdout;
  } catch (error) {
    const why = error.killed ? `no end after ${timeout} ms` : `${error.stderr ?? ""}${error.stdout ?? ""}`.trim() || error.message;
    throw new Problem(`${command[0]} failed: ${why}`);
  }
}

/** What to put before a command so that it runs under `user`, given as the answer of `account`. */
export function asUser(user) {
  return user === undefined ? [] : [program("setpriv"), `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--"];
}

/** The first of these accounts that exists, for a server that refuses to run as root; nothing when this is not root. */
export function account(...names) {
  if (process.getuid() !== 0) return undefined;
  const users = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  for (const name of names) {
    const user = users.find(([each]) => each === name);
    if (user !== undefined) return { name, uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new Problem(
    `the server refuses to run as root and there is no account ${names.join(" or ")}; install its package, which makes one`,
  );
}
