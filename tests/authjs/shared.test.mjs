// Auth.js itself, with its official adapters, and a Rust backend with hallpass on one database at once: docs/INTEGRATION.md, "A Rust backend beside a Next.js front end".

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { hashToken, withHallpass } from "hallpass-authjs-adapter";
import { startBackend } from "./adapters/backend.mjs";
import { DATABASES, moment } from "./adapters/databases.mjs";
import { startProvider, Visitor } from "./adapters/visitor.mjs";

const DAY = 86_400_000;
const COOKIE = "__Secure-authjs.session-token";
// Enough for the two sides to meet in every order, and few enough for thirteen databases.
const RACES = 6;

const newProfile = () => ({ sub: randomUUID(), name: "Alice", email: `${randomUUID()}@example.com` });

/** Every layout as Auth.js alone has it; with digests where the adapters of an engine differ most. */
const RUNS = DATABASES.flatMap((database) => {
  const hashed = ["pg_adapter on postgres", "prisma on sqlite", "drizzle on mariadb"].includes(database.name);
  return hashed ? [{ database, hashes: false }, { database, hashes: true }] : [{ database, hashes: false }];
});

for (const { database, hashes } of RUNS) {
  describe(`${database.name}${hashes ? ", digests" : ""}`, () => {
    let open;
    let provider;
    let backend;

    before(async () => {
      provider = await startProvider();
      open = await database.open();
      backend = await startBackend(open.url, { publicUrl: "https://app.example", hashes, cookie: COOKIE });
    });
    after(async () => {
      await backend?.close();
      await provider?.close();
      await open?.close();
    });

    const adapter = () => (hashes ? withHallpass(open.adapter, { hash: true }).forRequest() : open.adapter);
    const newVisitor = () => new Visitor("Auth.js 5", provider, adapter);
    const visitorOf = (token) => {
      const visitor = newVisitor();
      visitor.cookies.set(COOKIE, token);
      return visitor;
    };
    const signedIn = async (profile = newProfile()) => {
      const visitor = newVisitor();
      await visitor.signInByProvider(profile);
      assert.ok(visitor.token, `Auth.js signs in: ${visitor.errors.flat().map((error) => error?.cause?.err ?? error)}`);
      return visitor;
    };
    const stored = (token) => (hashes ? hashToken(token) : token);
    const { session } = database.tables;
    const row = async (token) => {
      const rows = await open.sql(`SELECT "expires" AS expires FROM "${session}" WHERE "sessionToken" = ?`, [await stored(token)]);
      return rows.length === 0 ? null : moment(rows[0].expires);
    };
    const expireAt = async (token, at) => open.adapter.updateSession({ sessionToken: await stored(token), expires: new Date(at) });
    const isAccepted = async (token) => (await backend.ask("/me", { token })).status;
    const list = async (token) => (await backend.ask("/account/api/sessions", { token })).body;
    const near = (at, expected) => assert.ok(Math.abs(at - expected) < 60_000, `${new Date(at).toISOString()}, not ${new Date(expected).toISOString()}`);

    test("a session that Auth.js made is accepted, listed and ended by hallpass, and Auth.js then answers null", async () => {
      const visitor = await signedIn();
      const me = await backend.ask("/me", { token: visitor.token });
      assert.equal(me.status, 200);
      assert.deepEqual(me.cookies, [], "the cookie is that of Auth.js");
      const other = visitorOf((await backend.ask("/devices", { method: "POST", token: visitor.token })).body.token);
      const listed = await list(visitor.token);
      assert.equal(listed.length, 2);
      const own = listed.find(({ isCurrent }) => isCurrent);
      assert.equal(own.id, me.body.session);
      near(Date.parse(own.expires), Date.now() + 30 * DAY);

      const ended = await backend.ask("/account/api/sessions", { method: "DELETE", token: other.token, json: { sessionToken: own.id } });
      assert.deepEqual(ended.body, { success: true, revoked: 1 });
      assert.equal(await visitor.session(), null);
      assert.equal(visitor.token, undefined, "Auth.js takes the cookie away");
      assert.equal((await list(other.token)).length, 1);
    });

    test("a session that hallpass made is accepted, extended and ended by Auth.js", async () => {
      const profile = newProfile();
      const visitor = await signedIn(profile);
      const { token } = (await backend.ask("/devices", { method: "POST", token: visitor.token })).body;
      assert.match(token, /^hp_/);
      const device = visitorOf(token);
      assert.equal((await device.session()).user.email, profile.email);
      near(await row(token), Date.now() + 30 * DAY);
      await expireAt(token, Date.now() + 28 * DAY);
      assert.equal((await device.session()).user.email, profile.email);
      near(await row(token), Date.now() + 30 * DAY);
      near(Date.parse((await list(token)).find(({ isCurrent }) => isCurrent).expires), Date.now() + 30 * DAY);
      await device.signOut();
      assert.equal(await row(token), null);
      assert.equal(await isAccepted(token), 401);
      assert.equal((await list(visitor.token)).length, 1, "what ended there is listed no more");
      assert.deepEqual(device.errors, []);
    });

    test("hallpass extends a session of Auth.js, once", async () => {
      const visitor = await signedIn();
      await expireAt(visitor.token, Date.now() + 28 * DAY);
      const answers = await Promise.all(Array.from({ length: 4 }, () => backend.ask("/me", { token: visitor.token })));
      assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200]);
      near(await row(visitor.token), Date.now() + 30 * DAY);
      assert.ok(answers.filter(({ cookies }) => cookies.length > 0).length <= 1, "one request extended it");
      assert.ok(await visitor.session());
    });

    test("a06 an extension by Auth.js beside an end by hallpass brings nothing back", async () => {
      const visitor = await signedIn();
      for (let race = 0; race < RACES; race += 1) {
        const { token } = (await backend.ask("/devices", { method: "POST", token: visitor.token })).body;
        await expireAt(token, Date.now() + 28 * DAY);
        const ends = () => backend.ask("/account/api/sessions", { method: "DELETE", token: visitor.token, json: { sessionToken: token } });
        const work = [visitorOf(token).session(), ends(), visitorOf(token).session()];
        const [, ended] = await Promise.all(work);
        assert.equal(ended.body.revoked, 1);
        assert.equal(await row(token), null);
        assert.equal(await visitorOf(token).session(), null);
        assert.equal(await isAccepted(token), 401);
      }
    });

    test("a06 an extension by hallpass beside a sign-out at Auth.js brings nothing back", async () => {
      const profile = newProfile();
      for (let race = 0; race < RACES; race += 1) {
        const visitor = await signedIn(profile);
        const { token } = visitor;
        await expireAt(token, Date.now() + 28 * DAY);
        await Promise.all([isAccepted(token), visitor.signOut(), isAccepted(token)]);
        assert.equal(await row(token), null);
        assert.equal(await isAccepted(token), 401);
        assert.equal(await visitorOf(token).session(), null);
      }
    });

    test("the session manager shows sessions of Auth.js, and its buttons end them", async () => {
      const profile = newProfile();
      const [laptop, phone] = [await signedIn(profile), await signedIn(profile)];
      const page = await backend.ask("/account/sessions", { token: laptop.token });
      assert.equal(page.status, 200);
      const ids = [...page.text.matchAll(/name="id" value="([0-9a-f-]{36})"/g)].map(([, id]) => id);
      assert.equal(new Set(ids).size, 2);
      const { session: current } = (await backend.ask("/me", { token: laptop.token })).body;
      const other = ids.find((id) => id !== current);
      const ended = await backend.ask("/account/sessions/revoke", { method: "POST", token: laptop.token, form: { id: other } });
      assert.equal(ended.status, 303);
      assert.equal(await phone.session(), null);
      assert.ok(await laptop.session());
      assert.ok(!page.text.includes(laptop.token) && !page.text.includes(phone.token), "no page shows a token");
    });

    test("a user whom Auth.js deletes is signed in nowhere", async () => {
      const visitor = await signedIn();
      const { token } = visitor;
      const { body } = await backend.ask("/me", { token });
      const id = /^\d+$/.test(body.user) ? Number(body.user) : body.user;
      if (!database.endsSessionsWithUser) await open.adapter.deleteSession(await stored(token));
      await open.adapter.deleteUser(id);
      assert.equal(await isAccepted(token), 401);
    });
  });
}
