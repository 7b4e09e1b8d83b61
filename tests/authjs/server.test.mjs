// `hallpass serve` and Auth.js itself, with its official adapters, on one database at once: the users of the application are the server's accounts, and the sessions of
// either are those of both (docs/INTEGRATION.md, "The server on the application's database").

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { withHallpass } from "hallpass-authjs-adapter";
import Database from "libsql";
import { newPassword, recordSecret } from "../browser/secrets.mjs";
import { startServer } from "../browser/server.mjs";
import { Client } from "../oidc/client.mjs";
import { DATABASES } from "./adapters/databases.mjs";
import { startProvider, Visitor } from "./adapters/visitor.mjs";
import { block, put } from "./guide.mjs";

const GUIDE = "The server on the application's database";

const V4 = "next-auth 4";
const V5 = "Auth.js 5";
/** What hallpass is told of each version, and its cookie here: over http on this machine, where Auth.js is behind https. */
const SIDES = {
  [V5]: { api: "authjs5", cookie: "authjs.session-token" },
  [V4]: { api: "nextauth4", cookie: "next-auth.session-token" },
};

/** One layout on each engine, with what differs most: ids that are numbers, UUIDs and texts, tokens and digests, and each version of Auth.js. */
const RUNS = [
  { name: "prisma on sqlite" },
  { name: "pg_adapter on postgres" },
  { name: "prisma on mariadb" },
  { name: "kysely on postgres", hashes: true },
  { name: "prisma_classic on sqlite", version: V4 },
];

/** The guide's settings, for this test's own database. */
const settings = (url, api) => put(put(block(GUIDE, "toml"), "authjs+postgres://app:password@db.example.org/app", url), "authjs5", api);

const newProfile = () => ({ sub: randomUUID(), name: "Alice", email: `${randomUUID()}@example.com`, email_verified: true });

for (const { name, hashes = false, version = V5 } of RUNS) {
  describe(`${name}${hashes ? ", digests" : ""}, ${version}`, () => {
    const { api, cookie } = SIDES[version];
    const database = DATABASES.find((each) => each.name === name);
    const { tables } = database;
    let open;
    let provider;
    let server;
    let folder;

    before(async () => {
      provider = await startProvider();
      open = await database.open();
      const { origin } = provider;
      folder = mkdtempSync(join(tmpdir(), "hallpass-shared-"));
      const config = join(folder, "hallpass.toml");
      const url = `authjs+${open.url}${hashes ? "?tokens=sha256" : ""}`;
      writeFileSync(config, settings(url, api));
      server = await startServer({
        HALLPASS_CONFIG: config,
        HALLPASS_PROVIDERS_CORP_KIND: "oauth2",
        HALLPASS_PROVIDERS_CORP_CLIENT_ID: "an-id",
        HALLPASS_PROVIDERS_CORP_CLIENT_SECRET: "a-secret",
        HALLPASS_PROVIDERS_CORP_AUTHORIZATION_URL: `${origin}/authorize`,
        HALLPASS_PROVIDERS_CORP_TOKEN_URL: `${origin}/token`,
        HALLPASS_PROVIDERS_CORP_USER_URL: `${origin}/userinfo`,
        HALLPASS_PROVIDERS_CORP_SIGN_UP: "true",
      });
    });
    after(async () => {
      await server?.close();
      await provider?.close();
      await open?.close();
      if (folder) rmSync(folder, { recursive: true, force: true });
    });

    const adapter = () => (hashes ? withHallpass(open.adapter, { hash: true }).forRequest() : open.adapter);

    /** Auth.js with a browser that has this token, and one without. */
    const atAuthjs = (token) => {
      const visitor = new Visitor(version, provider, adapter);
      if (token) visitor.cookies.set(`__Secure-${cookie}`, token);
      return visitor;
    };
    /** The same at hallpass. */
    const atHallpass = (token) => {
      const client = new Client(server);
      if (token) client.jar().set(cookie, token);
      return client;
    };
    const endAtHallpass = (token, json) =>
      atHallpass(token).ask("/api/sessions", { method: "DELETE", headers: { origin: server.origin, "sec-fetch-site": "same-origin" }, json });
    // A table that holds tokens as they are leaves them in the database's files; where it holds digests, none may be found.
    const recorded = (token) => (hashes ? recordSecret(token) : token);
    const tokenOf = (client) => recorded(client.jar().get(cookie));
    const sessionAt = async (client) => {
      const { json } = await client.ask("/api/auth/session");
      // Version 4 says "nobody" with an empty object.
      return version === V4 && Object.keys(json).length === 0 ? null : json;
    };

    const signedInByAuthjs = async (profile = newProfile()) => {
      const visitor = atAuthjs();
      await visitor.signInByProvider(profile);
      assert.ok(recorded(visitor.token), `Auth.js signs in: ${visitor.errors.flat().map((error) => error?.cause?.err ?? error)}`);
      return { visitor, token: visitor.token, profile };
    };
    const signInByPassword = async (email, password) => {
      const client = atHallpass();
      await client.post("/api/auth/callback/credentials", { email, password, callbackUrl: "/" });
      return client;
    };
    const signInByProvider = async (profile, client = atHallpass()) => {
      provider.next = profile;
      const { location } = await client.post("/api/auth/signin/corp", { callbackUrl: "/" });
      const state = new URL(location).searchParams.get("state");
      const answer = await client.ask(`/api/auth/callback/corp?${new URLSearchParams({ code: "a-code", state })}`);
      return { client, answer };
    };
    const command = async (args, input) => {
      const { code, stdout, stderr } = await server.run(args, { input });
      assert.equal(code, 0, `hallpass ${args.join(" ")}: ${stdout}${stderr}`);
      return stdout;
    };
    const setPassword = async (email) => {
      const password = newPassword();
      await command(["user", "passwd", email, "--password-stdin"], `${password}\n`);
      return password;
    };

    test("who is signed in at Auth.js is signed in at the server, as the same person", async () => {
      const { visitor, token, profile } = await signedInByAuthjs();
      // The application's other ways in may keep capitals, and applications compare addresses.
      const kept = profile.email.toUpperCase();
      await open.sql(`UPDATE "${tables.user}" SET "email" = ? WHERE "email" = ?`, [kept, profile.email]);
      const ours = await sessionAt(atHallpass(token));
      const theirs = await visitor.session();
      assert.deepEqual(ours.user, { name: profile.name, email: kept, image: null });
      assert.deepEqual(theirs.user, ours.user);
      assert.ok(Math.abs(Date.parse(ours.expires) - Date.parse(theirs.expires)) < 2_000);
      const home = await atHallpass(token).ask("/");
      assert.equal(home.status, 200);
      assert.ok(home.text.includes(kept) && !home.text.includes(token), "the page names the user and shows no token");
    });

    test("a session of Auth.js is listed and ended at the server, and Auth.js answers null", async () => {
      const { visitor, token, profile } = await signedInByAuthjs();
      const second = await signedInByAuthjs(profile);
      const listed = (await atHallpass(token).ask("/api/sessions")).json;
      assert.equal(listed.length, 2);
      const other = listed.find(({ isCurrent }) => !isCurrent);
      const ended = await endAtHallpass(token, { sessionToken: other.id });
      assert.deepEqual([ended.status, ended.json], [200, { success: true, revoked: 1 }]);
      assert.equal(await second.visitor.session(), null);
      assert.equal((await visitor.session()).user.email, profile.email);
    });

    test("an account made by the command line signs in with its password, and Auth.js knows the session", async () => {
      const [email, password] = [`${randomUUID()}@example.com`, newPassword()];
      const made = await command(["user", "add", email, "--name", "Bob", "--password-stdin", "--json"], `${password}\n`);
      const client = await signInByPassword(email, password);
      assert.match(tokenOf(client), /^hp_/);
      const visitor = atAuthjs(tokenOf(client));
      assert.deepEqual((await visitor.session()).user, { name: "Bob", email, image: null });
      const user = await open.adapter.getUserByEmail(email);
      assert.deepEqual([String(user.id), user.name], [JSON.parse(made).id, "Bob"]);

      // Signing out there is signing out here.
      await visitor.signOut();
      assert.equal(await sessionAt(client), null);
    });

    test("a password for a user of Auth.js ends the sessions that were there, and signs in to the same user", async () => {
      const { visitor, token, profile } = await signedInByAuthjs();
      assert.equal((await signInByPassword(profile.email, newPassword())).jar().get(cookie), undefined, "there is none yet");
      const password = await setPassword(profile.email.toUpperCase());
      assert.equal(await visitor.session(), null);
      assert.equal(await sessionAt(atHallpass(token)), null);
      const client = await signInByPassword(profile.email, password);
      assert.equal((await sessionAt(client)).user.email, profile.email);
      assert.equal((await atAuthjs(tokenOf(client)).session()).user.email, profile.email);
    });

    test("one provider signs in to one user at both", async () => {
      const { profile } = await signedInByAuthjs();
      const { client, answer } = await signInByProvider(profile);
      assert.equal(new URL(answer.location).pathname, "/", answer.location);
      const listed = (await client.ask("/api/sessions")).json;
      assert.equal(listed.length, 2, "that of Auth.js and this one are of one user");

      // Somebody whom hallpass has made.
      const fresh = newProfile();
      const first = await signInByProvider(fresh);
      assert.equal((await sessionAt(first.client)).user.email, fresh.email);
      const { visitor } = await signedInByAuthjs(fresh);
      assert.equal((await visitor.session()).user.email, fresh.email);
      assert.equal((await first.client.ask("/api/sessions")).json.length, 2);

      // An address alone is nobody's way in, at either.
      const taken = await signInByProvider({ ...newProfile(), email: profile.email });
      assert.match(taken.answer.location, /error=OAuthAccountNotLinked|error=OAuthCreateAccount/);
      assert.equal(tokenOf(taken.client), undefined);
    });

    test("a user who is disabled is signed out at both, and not let in here", async () => {
      const { visitor, profile } = await signedInByAuthjs();
      const password = await setPassword(profile.email);
      const again = await signedInByAuthjs(profile);
      await command(["user", "disable", profile.email]);
      assert.equal(await visitor.session(), null);
      assert.equal(await again.visitor.session(), null);
      assert.equal(tokenOf(await signInByPassword(profile.email, password)), undefined);
      assert.equal(tokenOf((await signInByProvider(profile)).client), undefined);
      // Auth.js does not know it. What it makes opens nothing of the account here.
      const { token } = await signedInByAuthjs(profile);
      assert.equal(await sessionAt(atHallpass(token)), null);
      assert.equal((await atHallpass(token).ask("/linked-accounts")).status, 303);
      // Nor does it see or end sessions, of which there are two again.
      const second = await signedInByAuthjs(profile);
      const page = await atHallpass(token).ask("/sessions", { headers: { "sec-fetch-mode": "navigate" } });
      assert.deepEqual([page.status, page.location], [303, `${server.origin}/signin?callbackUrl=%2Fsessions`]);
      const listed = await atHallpass(token).ask("/api/sessions");
      assert.deepEqual([listed.status, listed.json], [401, { error: "Unauthorized" }]);
      for (const named of [{ all: true }, { sessionToken: second.token }]) assert.equal((await endAtHallpass(token, named)).status, 401);
      assert.ok(await second.visitor.session(), "nothing was ended");
      // Signing out is everybody's.
      const leaving = atHallpass(token);
      assert.equal((await leaving.ask("/sessions/sign-out", { method: "POST", headers: { origin: server.origin } })).status, 303);
      assert.equal(leaving.jar().get(cookie), undefined);
      assert.ok(await second.visitor.session(), "one's own session alone has ended");
      await command(["user", "enable", profile.email]);
      assert.ok(tokenOf(await signInByPassword(profile.email, password)));
    });

    test("a user who is deleted is gone at both", async () => {
      const { visitor, token, profile } = await signedInByAuthjs();
      await command(["user", "delete", profile.email]);
      assert.equal(await open.adapter.getUserByEmail(profile.email), null);
      assert.equal(await open.adapter.getUserByAccount({ provider: "corp", providerAccountId: profile.sub }), null);
      assert.equal(await visitor.session(), null);
      assert.equal(await sessionAt(atHallpass(token)), null);
    });

    test("the doctor says whose tables they are, and no other place of accounts is taken", async () => {
      const said = await command(["doctor"]);
      assert.match(said, /database: layout: \S+.*\n.*tables: \S+ of users, \S+ of sessions/);
      if (!hashes) assert.match(said, /tokens=sha256 in the server's URL/);
      const refused = await server.run(["doctor", "--accounts-url", "sqlite:elsewhere.db"]);
      assert.notEqual(refused.code, 0);
      assert.match(refused.stderr, /accounts_url/);
      const moved = await server.run(["copy", "--from", "sqlite:hallpass.db", "--to", `authjs+${open.url}`]);
      assert.notEqual(moved.code, 0);
      const cached = await server.run(["doctor", "--validation", "cached"]);
      assert.notEqual(cached.code, 0);
      assert.match(cached.stdout + cached.stderr, /cached/);
      const users = JSON.parse(await command(["user", "list", "--json", "--limit", "100"])).users;
      assert.ok(users.some(({ createdAt, hasPassword }) => createdAt === null && !hasPassword), "one that Auth.js made");
      assert.ok(users.some(({ createdAt, hasPassword }) => createdAt !== null && hasPassword), "one that hallpass made");
      if (hashes) assert.equal((await open.sql('SELECT 1 FROM "Session" WHERE "sessionToken" LIKE ?', ["hp\\_%"])).length, 0);
    });
  });
}

/** Where hallpass's own tables lie with `side=`: another place in the database or beside it, and the usual one. `tables` are the names of what lies in a place. */
const ELSEWHERE = [
  {
    name: "pg_adapter on postgres",
    side: () => "aside",
    async tables(open, place) {
      return (await open.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [place])).map((row) => row.table_name);
    },
    usual: () => "hallpass",
    accounts: "hallpass_account_authjs_users",
  },
  {
    name: "prisma on sqlite",
    side: (open) => open.url.replace(/^sqlite:/, "").replace(/app\.db$/, "aside.db"),
    async tables(_open, place) {
      if (!existsSync(place)) return [];
      const file = new Database(place, { readonly: true });
      try {
        return file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all().map((row) => row.name);
      } finally {
        file.close();
      }
    },
    usual: (open) => open.url.replace(/^sqlite:/, "").replace(/app\.db$/, "app.hallpass.db"),
    accounts: "account_authjs_users",
  },
];

for (const { name, side, tables, usual, accounts } of ELSEWHERE) {
  test(`${name}: with side= hallpass's own tables lie there, and nothing lies in the usual place`, async () => {
    const open = await DATABASES.find((database) => database.name === name).open();
    const folder = mkdtempSync(join(tmpdir(), "hallpass-side-"));
    let server;
    try {
      const own = await ownTables(open);
      const config = join(folder, "hallpass.toml");
      writeFileSync(config, settings(`authjs+${open.url}?side=${side(open)}`, "authjs5"));
      server = await startServer({ HALLPASS_CONFIG: config });
      const [email, password] = [`${randomUUID()}@example.com`, newPassword()];
      const { code, stderr } = await server.run(["user", "add", email, "--name", "Bob", "--password-stdin"], { input: `${password}\n` });
      assert.equal(code, 0, stderr);
      const client = new Client(server);
      await client.signInWithPassword({ email, password });
      assert.equal((await client.ask("/api/sessions")).json.length, 1);

      const there = await tables(open, side(open));
      assert.ok(there.includes("hallpass_sessions"), `of sessions: ${there}`);
      assert.ok(there.includes(accounts), `of accounts: ${there}`);
      assert.deepEqual(await tables(open, usual(open)), []);
      assert.deepEqual(await ownTables(open), own, "and none among the application's");
    } finally {
      await server?.close();
      await open.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** The tables of the application's own place. */
async function ownTables(open) {
  const rows = open.url.startsWith("sqlite:")
    ? await open.sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    : await open.sql("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name");
  return rows.map((row) => row.name);
}
