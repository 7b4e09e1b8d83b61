// What Auth.js asks of an adapter, as a suite for any of them. It says what Auth.js's own suite asserts, and no more: hallpass's rules are in rules.mjs.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { moment } from "./databases.mjs";

const DAY = 86_400_000;
const METHODS = [
  "createUser", "getUser", "getUserByEmail", "getUserByAccount", "updateUser", "linkAccount",
  "createSession", "getSessionAndUser", "updateSession", "deleteSession",
];

/** `given` is in `row`, dates compared by the moment. */
export function assertHas(row, given) {
  assert.ok(row, "there is a row");
  for (const [name, value] of Object.entries(given)) {
    if (value instanceof Date) assert.equal(moment(row[name]), value.getTime(), name);
    else assert.equal(row[name] ?? null, value, name);
  }
}

/**
 * `make()` answers `{ adapter, row: { user, session, account, verification }, keepsMillis, endsSessionsWithUser, keepsToken, close }`: the adapter under
 * test, functions that read one row past it (`session` by the token that the adapter gave), and what its tables cannot or will not do.
 */
export function contract(name, make) {
  describe(name, () => {
    let it;
    let user;
    let session;
    const account = { type: "oauth", provider: "a-provider", providerAccountId: randomUUID(), access_token: "a", expires_at: 1_700_000_000 };

    /** A moment that the tables keep exactly. */
    const inDays = (days) => new Date(Math.floor((Date.now() + days * DAY) / 1000) * 1000 + (it.keepsMillis ? 123 : 0));
    const newUser = () => ({ id: randomUUID(), name: "Alice", email: `${randomUUID()}@example.com`, emailVerified: inDays(-1), image: "https://example.com/a.png" });

    before(async () => {
      it = await make();
    });
    after(() => it?.close());

    test("it has the methods that sessions in a database need", () => {
      for (const method of METHODS) assert.equal(typeof it.adapter[method], "function", method);
    });

    test("createUser keeps what it is given, and names the user", async () => {
      const { id, ...given } = newUser();
      user = await it.adapter.createUser({ id, ...given });
      assertHas(user, given);
      assert.ok(user.id);
      assertHas(await it.row.user(user.id), { ...given, id: user.id });
    });

    test("getUser finds a user by id, and nobody by an unknown one", async () => {
      assert.equal(await it.adapter.getUser(it.unknownId ?? randomUUID()), null);
      assert.deepEqual(await it.adapter.getUser(user.id), user);
    });

    test("getUserByEmail finds a user by address, and nobody by an unknown one", async () => {
      assert.equal(await it.adapter.getUserByEmail("nobody@example.com"), null);
      assert.deepEqual(await it.adapter.getUserByEmail(user.email), user);
    });

    test("createSession keeps the user and the expiry to the millisecond", async () => {
      const given = { sessionToken: randomUUID(), userId: user.id, expires: inDays(7) };
      session = await it.adapter.createSession(given);
      if (it.keepsToken) assert.equal(session.sessionToken, given.sessionToken);
      assertHas(session, { userId: user.id, expires: given.expires });
      assertHas(await it.row.session(session.sessionToken), { userId: user.id, expires: given.expires });
    });

    test("getSessionAndUser gives both by the token, and null by an unknown one", async () => {
      assert.equal(await it.adapter.getSessionAndUser("no such token"), null);
      const found = await it.adapter.getSessionAndUser(session.sessionToken);
      assert.deepEqual(Object.keys(found).sort(), ["session", "user"]);
      assert.deepEqual(found.user, user);
      assertHas(found.session, { sessionToken: session.sessionToken, userId: user.id, expires: session.expires });
    });

    test("updateUser changes what it is given and leaves the rest", async () => {
      const changed = await it.adapter.updateUser({ id: user.id, name: "Alice Liddell" });
      assertHas(changed, { id: user.id, name: "Alice Liddell", email: user.email });
      assertHas(await it.row.user(user.id), { name: "Alice Liddell", email: user.email, image: user.image });
      user = await it.adapter.getUser(user.id);
    });

    test("updateSession keeps the new expiry to the millisecond", async () => {
      const expires = inDays(28);
      await it.adapter.updateSession({ sessionToken: session.sessionToken, expires });
      assertHas(await it.row.session(session.sessionToken), { userId: user.id, expires });
      assertHas((await it.adapter.getSessionAndUser(session.sessionToken)).session, { expires });
    });

    test("linkAccount keeps the account, and getUserByAccount finds its user", async () => {
      const name = { provider: account.provider, providerAccountId: account.providerAccountId };
      assert.equal(await it.adapter.getUserByAccount(name), null);
      await it.adapter.linkAccount({ ...account, userId: user.id });
      const row = await it.row.account(name);
      // PostgreSQL gives BIGINT as text.
      assertHas({ ...row, expires_at: Number(row.expires_at) }, { ...account, userId: user.id });
      assert.deepEqual(await it.adapter.getUserByAccount(name), user);
      assert.equal(await it.adapter.getUserByAccount({ ...name, providerAccountId: "another" }), null);
    });

    test("deleteSession ends the session", async () => {
      await it.adapter.deleteSession(session.sessionToken);
      assert.equal(await it.row.session(session.sessionToken), undefined);
      assert.equal(await it.adapter.getSessionAndUser(session.sessionToken), null);
    });

    test("a verification token is used once, and by its own address alone", async () => {
      const given = { identifier: user.email, token: randomUUID(), expires: inDays(1) };
      const name = { identifier: given.identifier, token: given.token };
      assertHas(await it.adapter.createVerificationToken(given), given);
      assertHas(await it.row.verification(name), given);
      assert.equal(await it.adapter.useVerificationToken({ ...name, identifier: "other@example.com" }), null);
      assertHas(await it.adapter.useVerificationToken(name), given);
      assert.equal(await it.row.verification(name), undefined);
      assert.equal(await it.adapter.useVerificationToken(name), null);
    });

    test("unlinkAccount removes the account and leaves the user", async () => {
      const name = { provider: account.provider, providerAccountId: account.providerAccountId };
      await it.adapter.unlinkAccount(name);
      assert.equal(await it.row.account(name), undefined);
      assert.equal(await it.adapter.getUserByAccount(name), null);
      assert.ok(await it.row.user(user.id));
    });

    test("deleteUser takes accounts and sessions with it", async () => {
      const leaving = await it.adapter.createUser(newUser());
      const last = await it.adapter.createSession({ sessionToken: randomUUID(), userId: leaving.id, expires: inDays(7) });
      const theirs = { ...account, providerAccountId: randomUUID() };
      await it.adapter.linkAccount({ ...theirs, userId: leaving.id });
      if (!it.endsSessionsWithUser) {
        await assert.rejects(() => it.adapter.deleteUser(leaving.id));
        await it.adapter.deleteSession(last.sessionToken);
      }
      await it.adapter.deleteUser(leaving.id);
      assert.equal(await it.adapter.getUser(leaving.id), null);
      assert.equal(await it.row.user(leaving.id), undefined);
      assert.equal(await it.row.session(last.sessionToken), undefined);
      assert.equal(await it.row.account({ provider: theirs.provider, providerAccountId: theirs.providerAccountId }), undefined);
    });
  });
}
