// The rules of hallpass for the sessions of an adapter, as a suite: `rules(name, database, options)` with an open database of databases.mjs.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { hashToken, parseToken, withHallpass } from "hallpass-authjs-adapter";
import { moment } from "./databases.mjs";

const SECOND = 1000;
const DAY = 86_400 * SECOND;
const MONTH = 30 * DAY;
/** A whole second, for tables that keep no more, some days from now in the past: nothing here may look at the real clock. */
const START = Math.floor(Date.now() / SECOND) * SECOND - 400 * DAY;

/** Reads single rows past the adapter. */
export function rowReader({ sql, tables }, stored = async (token) => token) {
  const one = async (table, names) => {
    const where = Object.keys(names).map((name) => `"${name}" = ?`).join(" AND ");
    return (await sql(`SELECT * FROM "${table}" WHERE ${where}`, Object.values(names)))[0];
  };
  return {
    user: (id) => one(tables.user, { id }),
    session: async (token) => one(tables.session, { sessionToken: await stored(token) }),
    account: (names) => one(tables.account, names),
    verification: (names) => one(tables.verification, names),
  };
}

/** One user, a clock that stands still, and the adapter under the rules. `change(adapter)` puts faults into the inner adapter. */
class Given {
  constructor(open, hash) {
    this.open = open;
    this.hash = hash;
    this.time = START + (open.keepsMillis ? 7 : 0);
    this.stored = async (token) => (hash ? hashToken(token) : token);
    this.row = rowReader(open, this.stored);
  }

  wrap(options = {}, inner = this.open.adapter) {
    return withHallpass(inner, { hash: this.hash, now: () => this.time, ...options });
  }

  async user() {
    const email = `${randomUUID()}@example.com`;
    return this.open.adapter.createUser({ id: randomUUID(), name: "Bob", email, emailVerified: null, image: null });
  }

  async account(user) {
    const name = { provider: "a-provider", providerAccountId: randomUUID() };
    await this.open.adapter.linkAccount({ ...name, type: "oauth", userId: user.id });
    return name;
  }

  /** A session as Auth.js asks for one; `expires` is what Auth.js writes, or another. */
  async session(adapter, user, expires = this.time + MONTH) {
    return adapter.createSession({ sessionToken: randomUUID(), userId: user.id, expires: new Date(expires) });
  }

  /** A session that was there before the wrapper. */
  async foreign(user, expires = this.time + MONTH) {
    const token = randomUUID();
    await this.open.adapter.createSession({ sessionToken: await this.stored(token), userId: user.id, expires: new Date(expires) });
    return token;
  }

  /** Writes as an application without the wrapper would. */
  async write(token, expires) {
    await this.open.adapter.updateSession({ sessionToken: await this.stored(token), expires: new Date(expires) });
  }

  async expires(token) {
    const row = await this.row.session(token);
    return row && moment(row.expires);
  }

  async count(user) {
    return Number((await this.open.sql(`SELECT count(*) AS n FROM "${this.open.tables.session}" WHERE "userId" = ?`, [user.id]))[0].n);
  }

  /** The whole database as text. */
  async dump() {
    const rows = [];
    for (const table of Object.values(this.open.tables)) rows.push(...(await this.open.sql(`SELECT * FROM "${table}"`)));
    return JSON.stringify(rows);
  }
}

/** `open` is what `open()` of an entry answered, with the entry's own fields. */
export function rules(name, open, { hash }) {
  describe(name, () => {
    const given = () => new Given(open(), hash);

    describe("a new session", () => {
      test("has a token of hallpass's form, for the user and the moment", async () => {
        const it = given();
        const user = await it.user();
        const asked = { sessionToken: randomUUID(), userId: user.id, expires: new Date(it.time + DAY) };
        const session = await it.wrap().createSession(asked);
        const parsed = parseToken(session.sessionToken);
        assert.equal(parsed.createdAt.getTime(), it.time);
        assert.equal(parsed.shard, createHash("sha256").update(String(user.id)).digest()[0]);
        assert.equal(await it.row.session(asked.sessionToken), undefined, "the token that Auth.js made is not used");
        assert.equal(await it.expires(session.sessionToken), it.time + DAY, "a shorter life is kept");
        assert.equal(session.userId, user.id);
      });

      test("is found by its token, and the token is the raw one in all answers", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user(), it.time + DAY);
        assert.match(sessionToken, /^hp_/);
        assert.equal((await adapter.getSessionAndUser(sessionToken)).session.sessionToken, sessionToken);
        const updated = await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(updated.sessionToken, sessionToken);
        assert.equal(updated.expires.getTime(), it.time + MONTH);
        const same = await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(same.sessionToken, sessionToken);
        const deleted = await adapter.deleteSession(sessionToken);
        if (deleted) assert.equal(deleted.sessionToken, sessionToken);
      });

      test("keeps in the database what the option says, and a copy of that admits nobody", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user());
        const dump = await it.dump();
        const digest = createHash("sha256").update(sessionToken).digest("hex");
        assert.equal(dump.includes(sessionToken), !hash);
        assert.equal(dump.includes(sessionToken.slice(-45)), !hash, "nor the secret part alone");
        assert.equal(dump.includes(digest), hash);
        if (!hash) return;
        assert.equal(await adapter.getSessionAndUser(digest), null);
        assert.equal(await adapter.updateSession({ sessionToken: digest, expires: new Date(it.time + DAY) }), null);
        await adapter.deleteSession(digest);
        assert.ok(await adapter.getSessionAndUser(sessionToken));
      });

      test("never ends later than idle and absolute limit allow", async () => {
        const it = given();
        const user = await it.user();
        const idle = await it.session(it.wrap({ maxAge: 86_400 }), user, it.time + MONTH);
        assert.equal(idle.expires.getTime(), it.time + DAY);
        assert.equal(await it.expires(idle.sessionToken), it.time + DAY);
        const absolute = await it.session(it.wrap({ absoluteTimeout: 7 * 86_400 }), user, it.time + MONTH);
        assert.equal(await it.expires(absolute.sessionToken), it.time + 7 * DAY);
      });
    });

    describe("a session that is over", () => {
      test("is null at the first reading, and its row is deleted", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken, expires } = await it.session(adapter, await it.user());
        it.time = expires.getTime();
        assert.ok(await adapter.getSessionAndUser(sessionToken), "the moment itself is alive, as for Auth.js");
        it.time += 1;
        assert.equal(await adapter.getSessionAndUser(sessionToken), null);
        assert.equal(await it.row.session(sessionToken), undefined);
      });

      test("is null for everybody who reads it at once", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user());
        it.time += MONTH + SECOND;
        const answers = await Promise.all(Array.from({ length: 4 }, () => adapter.getSessionAndUser(sessionToken)));
        assert.deepEqual(answers, [null, null, null, null]);
      });

      test("is past its absolute end whatever the row says", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user());
        await it.write(sessionToken, it.time + 100 * DAY);
        const read = await adapter.getSessionAndUser(sessionToken);
        assert.equal(read.session.expires.getTime(), it.time + 90 * DAY, "and the application is told when it ends");
        it.time += 90 * DAY;
        assert.ok(await adapter.getSessionAndUser(sessionToken));
        it.time += 1;
        assert.equal(await adapter.updateSession({ sessionToken, expires: new Date(it.time + DAY) }), null);
        assert.equal(await it.expires(sessionToken), it.time - 1 + 10 * DAY, "an update writes nothing");
        assert.equal(await adapter.getSessionAndUser(sessionToken), null);
        assert.equal(await it.row.session(sessionToken), undefined);
      });

      test("lives on without an absolute limit, in both spellings", async () => {
        for (const absoluteTimeout of ["none", Infinity]) {
          const it = given();
          const adapter = it.wrap({ absoluteTimeout });
          const { sessionToken } = await it.session(adapter, await it.user());
          for (let month = 0; month < 5; month += 1) {
            it.time += MONTH - DAY;
            await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
          }
          assert.ok(await adapter.getSessionAndUser(sessionToken));
        }
      });
    });

    describe("an extension", () => {
      test("never goes beyond maxAge from now", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user());
        it.time += 2 * DAY;
        const updated = await adapter.updateSession({ sessionToken, expires: new Date(it.time + 60 * DAY) });
        assert.equal(updated.expires.getTime(), it.time + MONTH);
        assert.equal(await it.expires(sessionToken), it.time + MONTH);
      });

      test("never goes beyond the absolute limit, and then writes no more", async () => {
        const it = given();
        const counted = { updates: 0 };
        const inner = { ...open().adapter, updateSession: (...args) => ((counted.updates += 1), open().adapter.updateSession(...args)) };
        const adapter = it.wrap({ absoluteTimeout: 40 * 86_400 }, inner);
        const born = it.time;
        const { sessionToken } = await it.session(adapter, await it.user());
        it.time += 20 * DAY;
        await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(await it.expires(sessionToken), born + 40 * DAY);
        it.time += 5 * DAY;
        const again = await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(again.expires.getTime(), born + 40 * DAY);
        assert.equal(counted.updates, 1);
      });

      test("writes no more at an absolute end that the table rounds, up or down", async () => {
        for (const away of [-600, 0, 600]) {
          const it = given();
          it.time += 700;
          const counted = { updates: 0 };
          const inner = { ...open().adapter, updateSession: (...args) => ((counted.updates += 1), open().adapter.updateSession(...args)) };
          const adapter = it.wrap({ absoluteTimeout: 40 * 86_400 }, inner);
          const { sessionToken } = await it.session(adapter, await it.user());
          await it.write(sessionToken, it.time + 40 * DAY + away);
          it.time += 35 * DAY;
          await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
          assert.equal(counted.updates, 0, `${away} ms from the end`);
        }
      });

      test("beyond the absolute end is taken back, and a shortening from the end is written", async () => {
        const it = given();
        const adapter = it.wrap({ absoluteTimeout: 40 * 86_400 });
        const born = it.time;
        const { sessionToken } = await it.session(adapter, await it.user());
        await it.write(sessionToken, born + 60 * DAY);
        it.time += 35 * DAY;
        await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(await it.expires(sessionToken), born + 40 * DAY);
        const sooner = born + 40 * DAY - (open.keepsMillis ? 500 : SECOND);
        await adapter.updateSession({ sessionToken, expires: new Date(sooner) });
        assert.equal(await it.expires(sessionToken), sooner);
      });

      test("is written once in updateAge", async () => {
        const it = given();
        const adapter = it.wrap({ updateAge: 3600 });
        const { sessionToken } = await it.session(adapter, await it.user());
        const first = it.time + MONTH;
        it.time += 3600 * SECOND - SECOND;
        await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(await it.expires(sessionToken), first, "not due");
        it.time += SECOND;
        await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        assert.equal(await it.expires(sessionToken), it.time + MONTH);
      });

      test("is kept to the millisecond", { skip: !open.keepsMillis && "the table keeps whole seconds" }, async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user(), it.time + DAY);
        await adapter.updateSession({ sessionToken, expires: new Date(it.time + 9 * DAY + 457) });
        assert.equal(await it.expires(sessionToken), it.time + 9 * DAY + 457);
      });

      test("may be a shortening", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user());
        await adapter.updateSession({ sessionToken, expires: new Date(it.time + DAY) });
        assert.equal(await it.expires(sessionToken), it.time + DAY);
      });
    });

    describe("a session from before, with a token of Auth.js's own", () => {
      test("stays valid until its row ends, and is not extended under an absolute limit", async () => {
        const it = given();
        const adapter = it.wrap();
        const token = await it.foreign(await it.user());
        const end = it.time + MONTH;
        it.time += 10 * DAY;
        const read = await adapter.getSessionAndUser(token);
        assert.equal(read.session.sessionToken, token);
        const updated = await adapter.updateSession({ sessionToken: token, expires: new Date(it.time + MONTH) });
        assert.equal(updated.expires.getTime(), end);
        assert.equal(await it.expires(token), end);
        await adapter.updateSession({ sessionToken: token, expires: new Date(it.time + DAY) });
        assert.equal(await it.expires(token), it.time + DAY, "it may be shortened");
        await adapter.deleteSession(token);
        assert.equal(await it.row.session(token), undefined);
      });

      test("is extended when there is no absolute limit", async () => {
        const it = given();
        const adapter = it.wrap({ absoluteTimeout: "none" });
        const token = await it.foreign(await it.user());
        it.time += 10 * DAY;
        await adapter.updateSession({ sessionToken: token, expires: new Date(it.time + MONTH) });
        assert.equal(await it.expires(token), it.time + MONTH);
      });
    });

    describe("what is gone", () => {
      test("is not brought back by an update", async () => {
        const it = given();
        const user = await it.user();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, user);
        await adapter.deleteSession(sessionToken);
        it.time += 2 * DAY;
        assert.equal(await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) }), null);
        assert.equal(await it.count(user), 0);
      });

      test("is not brought back by an update after it expired, and nothing is written", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken, expires } = await it.session(adapter, await it.user());
        it.time += MONTH + 1;
        assert.equal(await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) }), null);
        assert.equal(await it.expires(sessionToken), expires.getTime());
      });

      test("is not brought back when it goes between the reading and the writing", async () => {
        const it = given();
        const user = await it.user();
        const { adapter: real, sql, tables } = open();
        const inner = {
          ...real,
          async updateSession(changes) {
            await sql(`DELETE FROM "${tables.session}" WHERE "sessionToken" = ?`, [changes.sessionToken]);
            return real.updateSession(changes);
          },
        };
        const adapter = it.wrap({}, inner);
        const { sessionToken } = await it.session(adapter, user);
        it.time += 2 * DAY;
        assert.equal(await adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) }), null);
        assert.equal(await it.count(user), 0);
      });

      test("is not brought back by updates that run beside the deletion", async () => {
        const it = given();
        const user = await it.user();
        const adapter = it.wrap();
        for (let round = 0; round < 5; round += 1) {
          const { sessionToken } = await it.session(adapter, user);
          it.time += 2 * DAY;
          const update = () => adapter.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
          await Promise.all([update(), adapter.deleteSession(sessionToken), update(), update()]);
          assert.equal(await it.count(user), 0);
        }
      });

      test("can be deleted again", async () => {
        const it = given();
        const adapter = it.wrap();
        const { sessionToken } = await it.session(adapter, await it.user());
        await adapter.deleteSession(sessionToken);
        assert.equal(await adapter.deleteSession(sessionToken), null);
        assert.equal(await adapter.deleteSession(randomUUID()), null);
        const { sessionToken: other } = await it.session(adapter, await it.user());
        await Promise.all(Array.from({ length: 4 }, () => adapter.deleteSession(other)));
        assert.equal(await it.row.session(other), undefined);
      });
    });

    test("a database that fails is an error, not the end of a session", async () => {
      const it = given();
      const fails = async () => {
        throw new Error("the connection was lost");
      };
      const { adapter: real } = open();
      const { sessionToken } = await it.session(it.wrap(), await it.user());
      it.time += 2 * DAY;
      const expires = new Date(it.time + MONTH);
      const lost = /the connection was lost/;
      await assert.rejects(() => it.wrap({}, { ...real, updateSession: fails }).updateSession({ sessionToken, expires }), lost);
      await assert.rejects(() => it.wrap({}, { ...real, deleteSession: fails }).deleteSession(sessionToken), lost);
      const down = it.wrap({}, { ...real, getSessionAndUser: fails, updateSession: fails, deleteSession: fails });
      await assert.rejects(() => down.getSessionAndUser(sessionToken), lost);
      await assert.rejects(() => down.deleteSession(sessionToken), lost);
      assert.ok(await it.wrap().getSessionAndUser(sessionToken));
    });

    test("a token in other letters is another token", async () => {
      const it = given();
      const user = await it.user();
      const adapter = it.wrap();
      const { sessionToken } = await it.session(adapter, user);
      const other = `hp_${sessionToken.slice(3).replace(/[a-z]/, (letter) => letter.toUpperCase())}`;
      const foreign = await it.foreign(user);
      const others = [other];
      // Kysely's adapter does not say which token the row has, and MariaDB compares without case.
      if (hash || open.tellsToken) others.push(foreign.toUpperCase());
      for (const token of others) {
        assert.equal(await adapter.getSessionAndUser(token), null);
        assert.equal(await adapter.updateSession({ sessionToken: token, expires: new Date(it.time + DAY) }), null);
      }
      assert.equal(await adapter.deleteSession(other), null);
      assert.ok(await adapter.getSessionAndUser(sessionToken));
    });

    describe("in one request", () => {
      test("to read and to extend a session replaces nothing", async () => {
        const it = given();
        const user = await it.user();
        const { sessionToken } = await it.session(it.wrap(), user);
        const request = it.wrap().forRequest();
        it.time += 2 * DAY;
        const read = await request.getSessionAndUser(sessionToken);
        await request.updateSession({ sessionToken, expires: new Date(it.time + MONTH) });
        await request.getUser(user.id);
        assert.equal(read.session.sessionToken, sessionToken);
        assert.ok(await it.row.session(sessionToken));
        assert.equal(await it.count(user), 1);
      });

      test("to sign in again by an account replaces the token, in the object that Auth.js holds too", async () => {
        const it = given();
        const user = await it.user();
        const account = await it.account(user);
        const { sessionToken } = await it.session(it.wrap(), user);
        const request = it.wrap().forRequest();
        it.time += 2 * DAY;
        await request.getUserByAccount(account);
        assert.ok(await it.row.session(sessionToken), "Auth.js asks for the account before anybody is known, too");
        const { session } = await request.getSessionAndUser(sessionToken);
        assert.equal((await request.getUserByAccount(account)).id, user.id);
        assert.notEqual(session.sessionToken, sessionToken);
        assert.equal(session.expires.getTime(), it.time + MONTH);
        const parsed = parseToken(session.sessionToken);
        assert.equal(parsed.createdAt.getTime(), it.time, "all limits begin anew");
        assert.notEqual(parsed.id, parseToken(sessionToken).id);
        assert.equal(await it.row.session(sessionToken), undefined);
        assert.equal(await it.count(user), 1);
        const token = session.sessionToken;
        await request.getUserByAccount(account);
        assert.equal(session.sessionToken, token, "once is enough");
        assert.ok(await request.getSessionAndUser(token));
      });

      test("to sign in by somebody else's account, or an unknown one, replaces nothing", async () => {
        const it = given();
        const user = await it.user();
        const account = await it.account(await it.user());
        const { sessionToken } = await it.session(it.wrap(), user);
        const request = it.wrap().forRequest();
        const { session } = await request.getSessionAndUser(sessionToken);
        await request.getUserByAccount(account);
        await request.getUserByAccount({ ...account, providerAccountId: "unknown" });
        assert.equal(session.sessionToken, sessionToken);
        assert.ok(await it.row.session(sessionToken));
      });

      test("a session that is over takes no part", async () => {
        const it = given();
        const user = await it.user();
        const account = await it.account(user);
        const { sessionToken } = await it.session(it.wrap(), user);
        it.time += MONTH + SECOND;
        const request = it.wrap().forRequest();
        assert.equal(await request.getSessionAndUser(sessionToken), null);
        await request.getUserByAccount(account);
        assert.equal(await it.count(user), 0);
      });

      test("a new session ends the one that the request came with, whoever it is for", async () => {
        const it = given();
        const user = await it.user();
        const adapter = it.wrap();
        const elsewhere = await it.session(adapter, user);
        const old = await it.session(adapter, user);
        const request = adapter.forRequest();
        await request.getSessionAndUser(old.sessionToken);
        const fresh = await it.session(request, user);
        assert.equal(await it.row.session(old.sessionToken), undefined);
        assert.ok(await request.getSessionAndUser(fresh.sessionToken));
        assert.ok(await it.row.session(elsewhere.sessionToken), "other devices stay signed in");
        const next = adapter.forRequest();
        await next.getSessionAndUser(fresh.sessionToken);
        await it.session(next, await it.user());
        assert.equal(await it.row.session(fresh.sessionToken), undefined);
        assert.ok(await it.row.session(elsewhere.sessionToken));
      });

      test("to end the session of another device leaves the one that the request came with to be replaced", async () => {
        const it = given();
        const user = await it.user();
        const account = await it.account(user);
        const elsewhere = await it.session(it.wrap(), user);
        const { sessionToken } = await it.session(it.wrap(), user);
        const request = it.wrap().forRequest();
        const { session } = await request.getSessionAndUser(sessionToken);
        await request.deleteSession(elsewhere.sessionToken);
        await request.getUserByAccount(account);
        assert.notEqual(session.sessionToken, sessionToken);
        assert.equal(await it.count(user), 1);
      });

      test("a session that was signed out is not replaced", async () => {
        const it = given();
        const user = await it.user();
        const adapter = it.wrap();
        const old = await it.session(adapter, user);
        const request = adapter.forRequest();
        await request.getSessionAndUser(old.sessionToken);
        await request.deleteSession(old.sessionToken);
        const account = await it.account(user);
        await request.getUserByAccount(account);
        assert.equal(await it.count(user), 0);
      });

      test("an adapter for one request that serves another says so", async () => {
        const it = given();
        const user = await it.user();
        const request = it.wrap().forRequest();
        const one = await it.session(it.wrap(), user);
        const two = await it.session(it.wrap(), user);
        await request.getSessionAndUser(one.sessionToken);
        await assert.rejects(() => request.getSessionAndUser(two.sessionToken), (error) => {
          assert.match(error.message, /one forRequest\(\) serves several requests/);
          return !error.message.includes(two.sessionToken);
        });
      });
    });
  });
}
