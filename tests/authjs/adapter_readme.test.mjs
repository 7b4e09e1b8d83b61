// What packages/hallpass-authjs-adapter/README.md says, as it stands there: the configurations, and the migrations to hashed tokens on tables with sessions in
// them.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createToken, hashToken, withHallpass } from "hallpass-authjs-adapter";
import { DATABASES, moment } from "./adapters/databases.mjs";
import { startProvider, Visitor } from "./adapters/visitor.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const README = readFileSync(new URL("../../packages/hallpass-authjs-adapter/README.md", import.meta.url), "utf8");
const DAY = 86_400_000;
const RUN_MS = 30_000;

const blocks = (language) => [...README.matchAll(/^```(\w+)\n(.*?)^```/gms)].filter(([, one]) => one === language).map(([, , text]) => text);
const blockWith = (language, part) => {
  const found = blocks(language).filter((text) => text.includes(part));
  assert.equal(found.length, 1, `one block of ${language} with ${part}`);
  return found[0];
};
const named = (name) => DATABASES.find((database) => database.name === name);

/** A file of the README's code beside the packages that it imports, with other modules in the place of the application's own. */
function fileOf(folder, text, modules) {
  let changed = text;
  for (const [specifier, code] of Object.entries(modules)) {
    const file = join(folder, `${specifier.replace(/\W/g, "_")}.mjs`);
    writeFileSync(file, code);
    assert.ok(changed.includes(`from "${specifier}"`), `imports ${specifier}`);
    changed = changed.replaceAll(`from "${specifier}"`, `from ${JSON.stringify(pathToFileURL(file).href)}`);
  }
  const file = join(folder, "readme.mjs");
  writeFileSync(file, changed);
  return file;
}

let folder;
before(() => {
  mkdirSync(join(HERE, "node_modules", ".cache"), { recursive: true });
  // Below node_modules, so that packages are found.
  folder = mkdtempSync(join(HERE, "node_modules", ".cache", "readme-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe("the configurations", () => {
  for (const [version, part, capture] of [
    ["Auth.js 5", "NextAuth(() =>", "export default (make) => (globalThis.configured = make, {});"],
    ["next-auth 4", "export default function handler", "export default (request, response, config) => config;"],
  ]) {
    test(`of ${version} signs people in, and in again`, async () => {
      const open = await named("prisma_classic on sqlite").open();
      const provider = await startProvider();
      try {
        const own = mkdtempSync(join(folder, "configuration-"));
        globalThis.readmeAdapter = open.adapter;
        const file = fileOf(own, blockWith("js", part), {
          "next-auth": capture,
          "@auth/prisma-adapter": "export const PrismaAdapter = () => globalThis.readmeAdapter;",
          "./prisma.js": "export const prisma = null;",
          "./providers.js": "export const providers = [];",
        });
        const { default: handler } = await import(pathToFileURL(file));
        const config = handler ?? globalThis.configured;
        assert.equal(config().session.strategy, "database");
        assert.equal(config().session.maxAge, 30 * 86_400);
        const visitor = new Visitor(version, provider, () => config().adapter);
        const profile = { sub: randomUUID(), name: "Alice", email: "alice@example.com" };
        await visitor.signInByProvider(profile);
        const { token } = visitor;
        await visitor.signInByProvider(profile);
        assert.notEqual(visitor.token, token);
        const rows = await open.sql('SELECT "sessionToken" AS token FROM "Session"');
        assert.deepEqual(rows, [{ token: await hashToken(visitor.token) }]);
        assert.equal((await visitor.session()).user.email, profile.email);
      } finally {
        await provider.close();
        await open.close();
      }
    });
  }
});

describe("the migration to hashed tokens", () => {
  async function sqlite(open, table) {
    const text = blockWith("js", "better-sqlite3").replaceAll("Session\"", `${table}"`);
    const own = mkdtempSync(join(folder, "migration-"));
    // The same interface, and a package that is not compiled at its installation.
    const file = fileOf(own, text, { "better-sqlite3": 'export { default } from "libsql";' });
    const env = { ...process.env, DATABASE_FILE: open.url.slice("sqlite:".length) };
    await promisify(execFile)(process.execPath, [file], { env, timeout: RUN_MS });
  }
  const postgres = (open, table) => open.sql(blockWith("sql", "convert_to").replace('"Session"', `"${table}"`));
  const mariadb = (open, table) => open.sql(blockWith("sql", "SHA2").replace("`Session`", `\`${table}\``));

  for (const [name, migrate] of [
    ["prisma_classic on postgres", postgres],
    ["prisma on postgres", postgres],
    ["drizzle on postgres", postgres],
    ["kysely on postgres", postgres],
    ["pg_adapter on postgres", postgres],
    ["prisma on mariadb", mariadb],
    ["drizzle on mariadb", mariadb],
    ["kysely on mariadb", mariadb],
    ["prisma_classic on sqlite", sqlite],
    ["drizzle on sqlite", sqlite],
    ["kysely on sqlite", sqlite],
  ]) {
    test(`keeps every cookie valid, and may be run again: ${name}`, async () => {
      const database = named(name);
      const open = await database.open();
      try {
        const { session: table } = database.tables;
        if (name === "drizzle on mariadb") {
          // As servers before 10.10, and MySQL before 8, make it of "timestamp NOT NULL".
          await open.sql(`ALTER TABLE "${table}" MODIFY expires timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP`);
        }
        const user = await open.adapter.createUser({ id: randomUUID(), name: "Bob", email: "bob@example.com", emailVerified: null, image: null });
        const expires = new Date(Math.floor((Date.now() + 9 * DAY) / 1000) * 1000);
        const tokens = [randomUUID(), randomUUID(), await createToken(user.id), "x".repeat(40)];
        for (const sessionToken of tokens) await open.adapter.createSession({ sessionToken, userId: user.id, expires });
        await migrate(open, table);
        await migrate(open, table);
        const rows = await open.sql(`SELECT "sessionToken" AS token, "expires" AS expires FROM "${table}"`);
        assert.deepEqual(rows.map(({ token }) => token).sort(), (await Promise.all(tokens.map(hashToken))).sort());
        for (const row of rows) assert.equal(moment(row.expires), expires.getTime());
        const adapter = withHallpass(open.adapter, { hash: true });
        for (const token of tokens) {
          const found = await adapter.getSessionAndUser(token);
          assert.equal(found.user.id, user.id);
          assert.equal(found.session.sessionToken, token);
          assert.equal(found.session.expires.getTime(), expires.getTime());
        }
      } finally {
        await open.close();
      }
    });
  }
});

test("the options' defaults are as the table says", async () => {
  for (const line of ["| `hash` | `false` |", "| `maxAge` | 30 days |", "| `updateAge` | 1 day |", "| `absoluteTimeout` | 90 days |", "| `now` | `Date.now` |"]) {
    assert.ok(README.includes(line), line);
  }
});
