// Around any adapter of Auth.js 5 or next-auth 4: the rules by which hallpass keeps sessions, for the JavaScript side of a database that
// both use. README.md says what they are and where they end.

import { checkAdapter, rulesOf } from "./options.js";
import { createToken, hashToken, isDamaged, parseToken } from "./token.js";

export { createToken, hashToken, parseToken };

// Below this a limit that the database rounds to whole seconds would be written again at every read.
const ROUNDING_MS = 1000;

/**
 * The adapter with hallpass's rules. `forRequest()` of the result gives one for a single request, which also replaces the token when
 * somebody signs in again.
 */
export function withHallpass(adapter, options = {}) {
  checkAdapter(adapter);
  const sessions = new Sessions(adapter, rulesOf(options));
  const wrapped = wrap(adapter, sessions);
  // Auth.js takes every enumerable property for a method of its own.
  Object.defineProperty(wrapped, "forRequest", { value: () => wrapForRequest(adapter, sessions) });
  return wrapped;
}

/** The sessions of one adapter under the rules. Outside it tokens are raw, in `adapter` they are as the database keeps them. */
class Sessions {
  constructor(adapter, rules) {
    this.adapter = adapter;
    this.rules = rules;
  }

  async stored(token) {
    return this.rules.hash ? hashToken(token) : token;
  }

  /** The last moment that the absolute limit allows; undefined when there is a limit and the token does not say since when. */
  endOf(token) {
    const { absoluteTimeout } = this.rules;
    if (absoluteTimeout === Infinity) return Infinity;
    const parsed = parseToken(token);
    return parsed ? parsed.createdAt.getTime() + absoluteTimeout : undefined;
  }

  async create(given) {
    const { now, maxAge, absoluteTimeout } = this.rules;
    const begins = now();
    const token = await createToken(given.userId, begins);
    const expires = new Date(Math.min(millis(given.expires), begins + maxAge, begins + absoluteTimeout));
    const row = await this.adapter.createSession({ ...given, sessionToken: await this.stored(token), expires });
    return { userId: given.userId, expires, ...row, sessionToken: token };
  }

  /** The row as it stands, dead or alive, and when it ends. */
  async find(token) {
    if (typeof token !== "string" || token === "" || isDamaged(token)) return null;
    const stored = await this.stored(token);
    const found = await this.adapter.getSessionAndUser(stored);
    // A collation without case finds rows of other tokens.
    if (!found || (found.session.sessionToken ?? stored) !== stored) return null;
    const expires = millis(found.session.expires);
    return { found, expires, ends: Math.min(expires, this.endOf(token) ?? Infinity) };
  }

  /** Auth.js takes the very moment of the end for alive, and so does hallpass on its tables. */
  isOver(ends) {
    return ends < this.rules.now();
  }

  async read(token) {
    const row = await this.find(token);
    if (!row) return null;
    if (this.isOver(row.ends)) {
      await this.delete(token);
      return null;
    }
    const session = { ...row.found.session, sessionToken: token, expires: new Date(row.ends) };
    return { ...row.found, session };
  }

  async update(changes) {
    const token = changes.sessionToken;
    const row = await this.find(token);
    if (!row || this.isOver(row.ends)) return null;
    const { expires, ...others } = changes;
    const write = { ...others, sessionToken: await this.stored(token) };
    if (expires !== undefined && expires !== null) {
      const target = this.allowed(token, row.expires, millis(expires));
      if (target !== row.expires) write.expires = new Date(target);
    }
    const unchanged = { ...row.found.session, sessionToken: token, expires: new Date(row.ends) };
    if (Object.keys(write).length === 1) return unchanged;
    const written = await this.unlessGone(token, () => this.adapter.updateSession(write));
    // Some adapters answer nothing after an update, and nothing when there was no row.
    return written ? { ...unchanged, ...written, sessionToken: token } : ((await this.read(token))?.session ?? null);
  }

  /** What may stand as `expires` in place of `current` when `wanted` is asked for. */
  allowed(token, current, wanted) {
    const { now, maxAge, updateAge } = this.rules;
    const end = this.endOf(token);
    const target = Math.min(wanted, now() + maxAge, end ?? Infinity);
    if (target === end && Math.abs(end - current) < ROUNDING_MS) return current;
    if (target <= current) return target;
    if (end === undefined) return current;
    // Another request was first.
    return current > now() + maxAge - updateAge ? current : target;
  }

  /** The session that was deleted if the adapter tells; null when there was none. */
  async delete(token) {
    if (typeof token !== "string" || token === "" || isDamaged(token)) return null;
    const stored = await this.stored(token);
    const row = await this.unlessGone(token, () => this.adapter.deleteSession(stored));
    return row ? { ...row, sessionToken: token } : null;
  }

  /** Null where the write failed because there is no such row, which Prisma and Kysely report as errors. */
  async unlessGone(token, write) {
    try {
      return await write();
    } catch (error) {
      const isThere = await this.find(token).catch(() => true);
      if (isThere) throw error;
      return null;
    }
  }
}

function wrap(adapter, sessions) {
  const wrapped = {};
  for (const [name, value] of Object.entries(adapter)) {
    // Methods that call others of the same adapter go on calling the adapter's own.
    wrapped[name] = typeof value === "function" ? (...args) => adapter[name](...args) : value;
  }
  return Object.assign(wrapped, {
    createSession: (session) => sessions.create(session),
    getSessionAndUser: (token) => sessions.read(token),
    updateSession: (changes) => sessions.update(changes),
    deleteSession: (token) => sessions.delete(token),
  });
}

/**
 * For one request, which Auth.js handles by one adapter: what it reads and then asks says what it is about. To show a session it reads the
 * session alone. To sign in by an account (a provider, a passkey) it reads the session that there is, then the account's user; if both are
 * the same user it keeps the session. By e-mail it creates a new session, and ends the old one if that is of another user who was known before.
 */
function wrapForRequest(adapter, sessions) {
  const wrapped = wrap(adapter, sessions);
  /** The live session that the request came with: its token, user, and the object that Auth.js holds. */
  let presented = null;
  const tokens = new Set();

  Object.assign(wrapped, {
    async getSessionAndUser(token) {
      if (tokens.size > 0 && !tokens.has(token)) {
        throw new Error(
          "hallpass-authjs-adapter: one forRequest() serves several requests; call it inside the function that gives Auth.js its configuration for each",
        );
      }
      tokens.add(token);
      const found = await sessions.read(token);
      if (found) presented = { token, user: found.user, session: found.session };
      return found;
    },

    async createSession(session) {
      const created = await sessions.create(session);
      tokens.add(created.sessionToken);
      // Whoever it is for: its token takes the other's place in the cookie.
      if (presented) {
        const { token } = presented;
        presented = null;
        await sessions.delete(token);
      }
      return created;
    },

    async deleteSession(token) {
      if (presented?.token === token) presented = null;
      return sessions.delete(token);
    },
  });

  if (typeof adapter.getUserByAccount === "function") {
    wrapped.getUserByAccount = async (account) => {
      const user = await adapter.getUserByAccount(account);
      // Compared as Auth.js does: what it refuses is no re-authentication.
      if (user && presented && user.id === presented.user.id) {
        const { token, session } = presented;
        presented = null;
        const { maxAge, now } = sessions.rules;
        const created = await sessions.create({ userId: session.userId, expires: new Date(now() + maxAge) });
        tokens.add(created.sessionToken);
        await sessions.delete(token);
        // Auth.js holds this object and copies its token and expiry into the cookie.
        Object.assign(session, created);
      }
      return user;
    };
  }
  return wrapped;
}

function millis(value) {
  const time = new Date(value ?? Number.NaN).getTime();
  if (Number.isNaN(time)) throw new TypeError("hallpass-authjs-adapter: the adapter or the caller gave an `expires` that is no date");
  return time;
}
