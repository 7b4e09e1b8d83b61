// Auth.js itself, versions 5 and 4, answering requests in this process as an application would have it answer them: the sign-in page of
// hallpass configured as its own, accounts in memory, sessions in memory or (`jwt`) in the cookie.

import { createRequire } from "node:module";
import { Auth } from "@auth/core";
import Credentials from "@auth/core/providers/credentials";
import GitHub from "@auth/core/providers/github";

const require = createRequire(import.meta.url);
const SECRET = "a secret of the application that is beside hallpass";
const SILENT = { error() {}, warn() {}, debug() {} };
const PAGES = { signIn: "/signin" };
const BASE = "/api/auth";
const DAY = 86_400_000;

/** The four methods of an adapter that sessions take, over a map from token to session. */
function adapter(account) {
  const user = { id: "1", name: account.name, email: account.email, image: null, emailVerified: null };
  const sessions = new Map();
  const none = async () => null;
  return {
    sessions,
    createUser: none,
    getUser: async () => user,
    getUserByEmail: async () => user,
    getUserByAccount: none,
    updateUser: async () => user,
    linkAccount: none,
    createSession: async (session) => (sessions.set(session.sessionToken, session), session),
    getSessionAndUser: async (token) => (sessions.has(token) ? { session: sessions.get(token), user } : null),
    updateSession: async (changed) => Object.assign(sessions.get(changed.sessionToken), changed),
    deleteSession: async (token) => void sessions.delete(token),
  };
}

/** What both versions are told. `jwt`: sign-in with credentials works, which Auth.js does without a database alone. */
function options(account, jwt, providers) {
  const store = adapter(account);
  return {
    store,
    config: {
      secret: SECRET,
      pages: PAGES,
      logger: SILENT,
      trustHost: true,
      session: { strategy: jwt ? "jwt" : "database" },
      providers,
      ...(jwt ? {} : { adapter: store }),
    },
  };
}

/** A peer: `ask({ method, path, headers, body })` answers `{ status, headers, body }`; `session(token, days)` puts a session into its store. */
function peer(store, ask) {
  return {
    ask,
    session(token, days) {
      store.sessions.set(token, { sessionToken: token, userId: "1", expires: new Date(Date.now() + days * DAY) });
    },
  };
}

function authorize(account) {
  return ({ email, password }) =>
    email === account.email && password === account.password ? { id: "1", name: account.name, email, image: null } : null;
}

/** `@auth/core`, which next-auth 5 wraps. */
export function authjs5(origin, account, { jwt }) {
  const credentials = Credentials({ credentials: { email: {}, password: {} }, authorize: authorize(account) });
  // With a database it refuses to start on credentials alone.
  const providers = jwt ? [credentials] : [credentials, GitHub({ clientId: "a", clientSecret: "b" })];
  const { store, config } = options(account, jwt, providers);
  return peer(store, async ({ method, path, headers, body }) => {
    const request = new Request(new URL(path, origin), { method, headers, body });
    const response = await Auth(request, { ...config, basePath: BASE });
    return { status: response.status, headers: [...response.headers], body: method === "HEAD" ? "" : await response.text() };
  });
}

/** next-auth 4 as an API route of Next.js calls it. */
export function nextauth4(origin, account, { jwt }) {
  process.env.NEXTAUTH_URL = origin;
  const NextAuth = require("next-auth-4/next").default;
  const provider = (name) => require(`next-auth-4/providers/${name}`).default;
  const credentials = provider("credentials")({ credentials: { email: {}, password: {} }, authorize: authorize(account) });
  const providers = jwt ? [credentials] : [credentials, provider("github")({ clientId: "a", clientSecret: "b" })];
  const { store, config } = options(account, jwt, providers);
  return peer(store, async ({ method, path, headers, body }) => {
    const url = new URL(path, origin);
    const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    const isJson = lower["content-type"]?.includes("json");
    const read = () => (isJson ? JSON.parse(body) : Object.fromEntries(new URLSearchParams(body)));
    const cookies = (lower.cookie ?? "").split("; ").filter(Boolean).map((pair) => pair.split(/=(.*)/s));
    const answer = { status: 200, headers: [], body: "" };
    const set = (name, value) => {
      answer.headers = answer.headers.filter(([other]) => other !== name.toLowerCase());
      answer.headers.push(...[value].flat().map((one) => [name.toLowerCase(), one]));
    };
    const response = {
      getHeader: (name) => {
        const values = answer.headers.filter(([other]) => other === name.toLowerCase()).map(([, value]) => value);
        return values.length > 1 ? values : values[0];
      },
      setHeader: (name, value) => (set(name, value), response),
      status: (status) => ((answer.status = status), response),
      json: (value) => (set("content-type", "application/json; charset=utf-8"), response.end(JSON.stringify(value))),
      send: (value) => (typeof value === "object" ? response.json(value) : response.end(value)),
      end: (text = "") => ((answer.body = text), response),
    };
    const request = {
      method,
      headers: { host: url.host, "x-forwarded-proto": url.protocol.slice(0, -1), ...lower },
      query: { nextauth: url.pathname.slice(BASE.length).split("/").filter(Boolean), ...Object.fromEntries(url.searchParams) },
      cookies: Object.fromEntries(cookies.map(([name, value]) => [name, decodeURIComponent(value)])),
      body: body === undefined ? undefined : read(),
    };
    await NextAuth(request, response, config);
    return method === "HEAD" ? { ...answer, body: "" } : answer;
  });
}
