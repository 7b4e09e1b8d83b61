// Auth.js 5 and next-auth 4 themselves, signing people in by a provider and by e-mail, over official adapters with hallpass's rules around them.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { hashToken, parseToken, withHallpass } from "hallpass-authjs-adapter";
import { DATABASES } from "./adapters/databases.mjs";
import { startProvider, VERSIONS, Visitor } from "./adapters/visitor.mjs";

const DAY = 86_400_000;
// Ids of numbers and of text, adapters that fail on a row that is gone and that do not, tables with and without foreign keys.
const CHOSEN = ["pg_adapter on postgres", "drizzle on sqlite", "kysely on mariadb", "prisma on postgres", "prisma_classic on sqlite"];

const newProfile = () => ({ sub: randomUUID(), name: "Alice", email: `${randomUUID()}@example.com` });

for (const database of DATABASES.filter(({ name }) => CHOSEN.includes(name))) {
  for (const version of VERSIONS) {
    for (const hash of [false, true]) {
      describe(`${version}, ${database.name}${hash ? ", hashes" : ""}`, () => {
        let open;
        let provider;
        /** Moves the clock of the wrapper, not that of Auth.js. */
        let later = 0;

        before(async () => {
          provider = await startProvider();
          open = await database.open();
        });
        after(async () => {
          await provider?.close();
          await open?.close();
        });

        const visitor = ({ perRequest = true, absoluteTimeout } = {}) => {
          const options = { hash, now: () => Date.now() + later, ...(absoluteTimeout && { absoluteTimeout }) };
          const adapter = withHallpass(open.adapter, options);
          return new Visitor(version, provider, () => (perRequest ? adapter.forRequest() : adapter));
        };
        const stored = async (token) => (hash ? hashToken(token) : token);
        const tokens = async (email) => {
          const { user, session } = database.tables;
          const text = `SELECT s."sessionToken" AS token FROM "${session}" s JOIN "${user}" u ON u."id" = s."userId" WHERE u."email" = ?`;
          return (await open.sql(text, [email])).map(({ token }) => token);
        };
        const endNow = async (token) => open.adapter.updateSession({ sessionToken: await stored(token), expires: new Date(Date.now() - DAY) });

        test("a first sign-in gives a token of hallpass's form, and reading it changes nothing", async () => {
          const profile = newProfile();
          const it = visitor();
          await it.signInByProvider(profile);
          const { token } = it;
          assert.ok(Math.abs(parseToken(token).createdAt - Date.now()) < 60_000);
          assert.ok(it.isSignedIn);
          for (let round = 0; round < 3; round += 1) assert.equal((await it.session()).user.email, profile.email);
          assert.equal(it.token, token);
          assert.deepEqual(await tokens(profile.email), [await stored(token)]);
          assert.deepEqual(it.errors, []);
        });

        test("to sign in again by the provider replaces the token (7b)", async () => {
          const profile = newProfile();
          const it = visitor();
          await it.signInByProvider(profile);
          const old = it.token;
          await it.signInByProvider(profile);
          assert.match(it.token, /^hp_/);
          assert.notEqual(it.token, old);
          assert.ok(it.isSignedIn);
          assert.deepEqual(await tokens(profile.email), [await stored(it.token)]);
          assert.equal((await it.session()).user.email, profile.email);
          it.cookies.set(it.core.sessionCookie, old);
          assert.equal(await it.session(), null, "the old one is dead");
          assert.deepEqual(it.errors, []);
        });

        test("to sign in again by e-mail leaves no old row (7a)", async () => {
          const profile = newProfile();
          const it = visitor();
          await it.signInByProvider(profile);
          const old = it.token;
          await it.signInByEmail(profile.email);
          assert.notEqual(it.token, old);
          assert.deepEqual(await tokens(profile.email), [await stored(it.token)]);
          assert.equal((await it.session()).user.email, profile.email);
        });

        test("to sign in by e-mail as somebody else ends the session that was there, also for a new user (7a')", async () => {
          const [alice, bob, newcomer] = [newProfile(), newProfile(), newProfile()];
          await visitor().signInByProvider(bob);
          for (const other of [bob, newcomer]) {
            const it = visitor();
            await it.signInByProvider(alice);
            await it.signInByEmail(other.email);
            assert.deepEqual(await tokens(alice.email), []);
            assert.equal((await it.session()).user.email, other.email);
          }
        });

        test("to sign in over an expired session works (7c)", async () => {
          const profile = newProfile();
          const it = visitor();
          await it.signInByProvider(profile);
          const old = it.token;
          await endNow(old);
          await it.signInByProvider(profile);
          assert.ok(it.isSignedIn);
          assert.notEqual(it.token, old);
          assert.deepEqual(await tokens(profile.email), [await stored(it.token)]);
        });

        test("an account of somebody else is refused, and the session stays as it was (7d)", async () => {
          const [alice, other] = [newProfile(), newProfile()];
          await visitor().signInByProvider(other);
          const it = visitor();
          await it.signInByProvider(alice);
          const { token } = it;
          assert.match(await it.signInByProvider(other), /AccountNotLinked/);
          assert.equal(it.token, token);
          assert.equal((await it.session()).user.email, alice.email);
        });

        test("a second account is linked and the token stays (7d')", async () => {
          const profile = newProfile();
          const it = visitor();
          await it.signInByProvider(profile);
          const { token } = it;
          await it.signInByProvider({ ...newProfile(), email: profile.email }, "second");
          assert.equal(it.token, token);
          assert.equal((await it.session()).user.email, profile.email);
        });

        test("without forRequest Auth.js keeps the token, or the row (7b, 7a)", async () => {
          const profile = newProfile();
          const it = visitor({ perRequest: false });
          await it.signInByProvider(profile);
          const { token } = it;
          await it.signInByProvider(profile);
          assert.equal(it.token, token, "and not the hash of it");
          assert.equal((await it.session()).user.email, profile.email);
          await it.signInByEmail(profile.email);
          assert.notEqual(it.token, token);
          assert.equal((await tokens(profile.email)).length, 2);
        });

        test("a session past its absolute end is no session, and the cookie goes", async () => {
          const profile = newProfile();
          const it = visitor({ absoluteTimeout: 20 * 86_400 });
          await it.signInByProvider(profile);
          assert.ok(await it.session());
          later = 20 * DAY + 1000;
          try {
            assert.equal(await it.session(), null);
          } finally {
            later = 0;
          }
          assert.equal(it.token, undefined);
          assert.deepEqual(await tokens(profile.email), []);
        });

        test("signing out ends the session, also when it is gone already", async () => {
          const profile = newProfile();
          const it = visitor();
          await it.signInByProvider(profile);
          const { token } = it;
          await it.signOut();
          assert.equal(it.token, undefined);
          assert.deepEqual(await tokens(profile.email), []);
          it.cookies.set(it.core.sessionCookie, token);
          await it.signOut();
          assert.deepEqual(it.errors, []);
        });
      });
    }
  }
}
