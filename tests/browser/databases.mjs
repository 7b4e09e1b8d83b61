// Which database the servers under test have: SQLite in their directory, or with HALLPASS_BROWSER_ENGINE set an empty one of its own for
// each on a server that `scripts/services run` started.

import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";

const CREATE_MS = 20_000;

const withParameter = (name) => (url) => `${url}${url.includes("?") ? "&" : "?"}${name}=t${randomBytes(8).toString("hex")}`;

/** The server's client program is the one way to make a database there. */
async function newMariadb(server) {
  const url = new URL(server);
  const name = `t${randomBytes(8).toString("hex")}`;
  const args = [`--host=${url.hostname}`, `--port=${url.port || 3306}`, "--protocol=tcp", `--user=${decodeURIComponent(url.username)}`];
  const env = { ...process.env, MYSQL_PWD: decodeURIComponent(url.password) };
  await promisify(execFile)("mariadb", ["--no-defaults", ...args, "-e", `CREATE DATABASE ${name}`], { env, timeout: CREATE_MS });
  url.pathname = `/${name}`;
  return url.href;
}

const ENGINES = {
  // The schema is made by the program.
  postgres: { variable: "HALLPASS_TEST_POSTGRES", fresh: withParameter("schema") },
  mariadb: { variable: "HALLPASS_TEST_MARIADB", fresh: newMariadb },
  redis: { variable: "HALLPASS_TEST_REDIS", fresh: withParameter("prefix") },
  "redis-cluster": { variable: "HALLPASS_TEST_REDIS_CLUSTER", fresh: withParameter("prefix") },
  valkey: { variable: "HALLPASS_TEST_VALKEY", fresh: withParameter("prefix") },
};

/** The settings that give one server a database of its own. */
export async function databaseSettings() {
  const engine = process.env.HALLPASS_BROWSER_ENGINE || "sqlite";
  if (engine === "sqlite") return {};
  const known = ENGINES[engine];
  if (!known) throw new Error(`HALLPASS_BROWSER_ENGINE is ${engine}: use sqlite, ${Object.keys(ENGINES).join(", ")}`);
  const server = process.env[known.variable];
  if (!server) throw new Error(`${known.variable} is not set: run the tests by \`scripts/services run --only ${engine} -- node --test\``);
  return { HALLPASS_DATABASE_URL: await known.fresh(server) };
}
