// `hallpass serve` and Auth.js itself, with its official adapters, on one database at once: the users of the application are the server's accounts, and the sessions of
// either are those of both (docs/INTEGRATION.md, "The server on the application's database").

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { withHallpass } from "hallpass-authjs-adapter";
import { newPassword, recordSecret } from "../browser/secrets.mjs";
import { startServer } from "../browser/server.mjs";
import { Client } from "../oidc/client.mjs";
import { DATABASES } from "./adapters/databases.mjs";
import { startProvider, Visitor } from "./adapters/visitor.mjs";
import { block, put } from "./guide.mjs";

const GUIDE = "The server on the application's database";

// Over http on this machine, where Auth.js is behind https.
const COOKIE = "authjs.session-token";
const AUTHJS_COOKIE = "__Secure-authjs.session-token";

/** One layout on each engine, with what differs most: ids that are numbers, UUIDs and texts, tokens and digests. */
const RUNS = [
  { name: "prisma on sqlite" },
  { name: "pg_adapter on postgres" },
  { name: "prisma on mariadb" },
  { name: "kysely on postgres", hashes: true },
];

const newProfile = () => ({ sub: randomUUID(), name: "Alice", email: `${randomUUID()}@example.com`, email_verified: true });

for (const { name, hashes = false } of RUNS) {
  describe(`${name}${hashes ? ", digests" : ""}`, () => {
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
      writeFileSync(config, put(block(GUIDE, "toml"), "authjs+postgres://app:password@db.example.org/app", url));
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
      const visitor = new Visitor("Auth.js 5", provider, adapter);
      if (token) visitor.cookies.set(AUTHJS_COOKIE, token);
      return visitor;
    };
    /** The same at hallpass. */
    const atHallpass = (token) => {
      const client = new Client(server);
      if (token) client.jar().set(COOKIE, token);
      return client;
    };
    const tokenOf = (client) => recordSecret(client.jar().get(COOKIE));
    const sessionAt = async (client) => (await client.ask("/api/auth/session")).json;

    const signedInByAuthjs = async (profile = newProfile()) => {
      const visitor = atAuthjs();
      await visitor.signInByProvider(profile);
      assert.ok(recordSecret(visitor.token), `Auth.js signs in: ${visitor.errors.flat().map((error) => error?.cause?.err ?? error)}`);
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
      const ended = await fetch(`${server.origin}/api/sessions`, {
        method: "DELETE",
        headers: { cookie: `${COOKIE}=${token}`, "content-type": "application/json", origin: server.origin, "sec-fetch-site": "same-origin" },
        body: JSON.stringify({ sessionToken: other.id }),
        signal: AbortSignal.timeout(20_000),
      });
      assert.deepEqual([ended.status, await ended.json()], [200, { success: true, revoked: 1 }]);
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
      assert.equal((await signInByPassword(profile.email, newPassword())).jar().get(COOKIE), undefined, "there is none yet");
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
