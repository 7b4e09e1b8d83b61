// Auth.js itself, versions 5 and 4, answering requests in this process as an application would have it answer them: the sign-in page of
// hallpass configured as its own, accounts in memory, and sessions in a database (`adapter`) or without one in the cookie.

import { createRequire } from "node:module";
import { Auth } from "@auth/core";
import Credentials from "@auth/core/providers/credentials";
import { CLIENT_ID, CLIENT_SECRET } from "../oidc/provider.mjs";

// Version 4 takes its origin from the request then, so that several can answer in one process.
delete process.env.NEXTAUTH_URL;
process.env.AUTH_TRUST_HOST = "true";

const require = createRequire(import.meta.url);
const SECRET = "a secret of the application that is beside hallpass";
const SILENT = { error() {}, warn() {}, debug() {} };
const PAGES = { signIn: "/signin" };
const BASE = "/api/auth";

/** What both versions are told. Sign-in with credentials works without a database alone, and a database needs one more provider. */
function config(providers, adapter) {
  return {
    secret: SECRET,
    pages: PAGES,
    logger: SILENT,
    trustHost: true,
    session: { strategy: adapter ? "database" : "jwt" },
    providers,
    ...(adapter && { adapter }),
  };
}

/** What both versions are told of an OpenID provider: to check all that there is to check, as hallpass does, and to ask for the profile, which it does too. */
function corp(provider) {
  return {
    id: provider.id,
    name: provider.name,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    issuer: provider.issuer,
    authorization: { params: { scope: "openid email profile" } },
    checks: ["pkce", "state", "nonce"],
    profile: ({ sub, name, email }) => ({ id: sub, name, email, image: null }),
  };
}

function authorize(account) {
  return ({ email, password }) =>
    email === account.email && password === account.password ? { id: "1", name: account.name, email, image: null } : null;
}

function sessionCookie(origin, prefix) {
  return `${origin.startsWith("https:") ? "__Secure-" : ""}${prefix}.session-token`;
}

/**
 * `@auth/core`, which next-auth 5 wraps: `ask({ method, path, headers, body })` answers `{ status, headers, body }`.
 */
export function authjs5(origin, { account, provider, adapter }) {
  const credentials = Credentials({ credentials: { email: {}, password: {} }, authorize: authorize(account) });
  const settings = config([credentials, { ...corp(provider), type: "oidc", idToken: false }], adapter);
  return {
    sessionCookie: sessionCookie(origin, "authjs"),
    async ask({ method, path, headers, body }) {
      const request = new Request(new URL(path, origin), { method, headers, body });
      const response = await Auth(request, { ...settings, basePath: BASE });
      return { status: response.status, headers: [...response.headers], body: method === "HEAD" ? "" : await response.text() };
    },
  };
}

/** next-auth 4 as an API route of Next.js calls it. */
export function nextauth4(origin, { account, provider, adapter }) {
  const NextAuth = require("next-auth-4/next").default;
  const credentials = require("next-auth-4/providers/credentials").default({
    credentials: { email: {}, password: {} },
    authorize: authorize(account),
  });
  const oidc = {
    ...corp(provider),
    type: "oauth",
    wellKnown: `${provider.issuer}/.well-known/openid-configuration`,
    idToken: true,
    userinfo: { request: ({ client, tokens }) => client.userinfo(tokens) },
  };
  const settings = config([credentials, oidc], adapter);
  return {
    sessionCookie: sessionCookie(origin, "next-auth"),
    async ask({ method, path, headers, body }) {
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
        headers: { host: url.host, "x-forwarded-host": url.host, "x-forwarded-proto": url.protocol.slice(0, -1), ...lower },
        query: { nextauth: url.pathname.slice(BASE.length).split("/").filter(Boolean), ...Object.fromEntries(url.searchParams) },
        cookies: Object.fromEntries(cookies.map(([name, value]) => [name, decodeURIComponent(value)])),
        body: body === undefined ? undefined : read(),
      };
      await NextAuth(request, response, settings);
      return method === "HEAD" ? { ...answer, body: "" } : answer;
    },
  };
}
