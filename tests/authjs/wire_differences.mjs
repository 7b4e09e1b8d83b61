// What hallpass answers otherwise than Auth.js on purpose. What `apply` makes of an answer of Auth.js is what hallpass must answer: it changes that alone
// which `theirs` says, so that an Auth.js that does otherwise is noticed. docs/INTEGRATION.md shows them all.

import { BAD_REQUEST, isPage, isRead, redirect, to, withCookies, without } from "./wire_changes.mjs";
import { OF_PROVIDERS } from "./wire_differences_providers.mjs";
import { OF_SESSIONS } from "./wire_differences_sessions.mjs";

const NOT_CACHED = { "cache-control": "private, no-cache, no-store", pragma: "no-cache", expires: "0" };

const OF_ANY_ANSWER = [
  {
    when: "any answer",
    theirs: "a cookie keeps the `callbackUrl`",
    ours: "none: the target travels with each request",
    apply: (answer) => without(answer, /callback-url=/),
  },
  {
    when: "any answer",
    theirs: "sets the CSRF cookie if the browser has none",
    ours: "sets it where the token is handed out",
    apply: (answer, { path }) => (path.endsWith("/csrf") ? answer : without(answer, /csrf-token=/)),
  },
  {
    when: "any answer that looked at a session",
    theirs: "only reading the session and the CSRF token forbid caches to keep the answer",
    ours: "all do",
    apply: (answer, { path }) =>
      answer["cache-control"] || /\/(providers|_log)$/.test(path)
        ? answer
        : { ...answer, ...(isRead(path) && answer.status === 200 ? NOT_CACHED : { "cache-control": "no-store" }) },
  },
  {
    when: "JSON, version 4",
    theirs: "`application/json; charset=utf-8`",
    ours: "`application/json`",
    apply: (answer) => ({ ...answer, "content-type": answer["content-type"].replace("json; charset=utf-8", "json") }),
  },
  {
    when: "an address as JSON, version 4",
    theirs: "the body alone",
    ours: "`Location` too, unless something went wrong",
    apply: (answer, { api }) => {
      const url = api === "nextauth4" && answer.body?.url;
      return url && !/[?&](error|csrf)=/.test(url) ? { ...answer, location: url } : answer;
    },
  },
  {
    when: "the session cookie",
    theirs: "`authjs.session-token` or `next-auth.session-token`, with `__Secure-` over https",
    ours: "`session`, with `__Host-` over https, so that no sibling host can set it",
    apply: (answer, { isSecure }) =>
      withCookies(answer, (cookie) => cookie.replace(/^[^=]*session-token=/, isSecure ? "__Host-session=" : "session=")),
  },
];

const OF_PAGES_AND_PATHS = [
  {
    when: "a wrong password in a form",
    theirs: "to the page that says so",
    ours: "the same, which keeps the target",
    apply: (answer, { origin }) =>
      answer.status === 302 && answer.location.includes("error=CredentialsSignin")
        ? { ...answer, location: `${origin}/signin?${new URLSearchParams({ error: "CredentialsSignin", code: "credentials", callbackUrl: `${origin}/here` })}` }
        : answer,
  },
  {
    when: "`POST signin/credentials`",
    theirs: "to `/api/auth/signin`, which forgets the target unless the cookie of the `callbackUrl` arrives",
    ours: "to the sign-in page with the target",
    apply: (answer, { path, origin }) =>
      path.endsWith("/signin/credentials") && (answer.body?.url ?? answer.location).endsWith("/api/auth/signin")
        ? to(answer, `${origin}/signin?${new URLSearchParams({ callbackUrl: `${origin}/somewhere` })}`)
        : answer,
  },
  {
    when: "`POST signin` with an unknown provider, version 4",
    theirs: "says that the CSRF token is wrong",
    ours: "says that the configuration is, as version 5 does",
    apply: (answer, { path, origin }) =>
      path.endsWith("/signin/nobody") ? to(answer, `${origin}/api/auth/error?error=Configuration`) : answer,
  },
  {
    when: "`GET signin` with a provider",
    theirs: "to the error page (version 5), or takes the provider for an error (version 4)",
    ours: "to the sign-in page: a link alone signs nobody in",
    apply: (answer, { method, path, origin }) =>
      method === "GET" && path.endsWith("/signin/corp") && /error=(Configuration|corp)$/.test(answer.location)
        ? { ...answer, location: `${origin}/signin?${new URLSearchParams({ callbackUrl: `${origin}/somewhere` })}` }
        : answer,
  },
  {
    when: "`GET signin`",
    theirs: "to the path of the sign-in page",
    ours: "to its whole address",
    apply: (answer, { origin }) => (answer.location.startsWith("/") ? { ...answer, location: origin + answer.location } : answer),
  },
  {
    when: "`GET signout`",
    theirs: "a page that asks",
    ours: "to the origin; hallpass's pages have the button",
    apply: (answer, { path, origin }) => (isPage(answer) && path.endsWith("/signout") ? redirect(answer, origin) : answer),
  },
  {
    when: "`GET error`",
    theirs: "a page of its own",
    ours: "the sign-in page says it",
    apply: (answer, { path, origin }) =>
      isPage(answer) && path.endsWith("/error") ? redirect(answer, `${origin}/signin?error=AccessDenied`) : answer,
  },
  {
    when: "`GET verify-request`",
    theirs: "a page for e-mailed links",
    ours: "400, since there are none",
    apply: (answer, { path }) => (isPage(answer) && path.endsWith("/verify-request") ? { ...answer, ...BAD_REQUEST } : answer),
  },
  {
    when: "`POST csrf`, `POST providers`, version 5",
    theirs: "a redirect to the error page",
    ours: "400",
    apply: (answer, { method, path }) =>
      method === "POST" && /\/(csrf|providers)$/.test(path) ? { ...answer, ...BAD_REQUEST } : answer,
  },
  {
    when: "a longer path, version 4",
    theirs: "ignores what it does not know of it",
    ours: "400, as version 5",
    apply: (answer, { api, path }) => (api === "nextauth4" && path.endsWith("/session/a/b") ? { ...answer, ...BAD_REQUEST, pragma: "", expires: "" } : answer),
  },
  {
    when: "a request that is none of the contract's",
    theirs: "400 or 500 with a sentence (version 4), or 400 with a JSON string (version 5)",
    ours: "400 with the JSON string in both",
    apply: (answer, { method, path }) => {
      if (![400, 500].includes(answer.status) || (isRead(path) && method === "POST")) return answer;
      const kept = method === "HEAD" ? { body: "" } : method === "POST" && path.includes("/callback/") ? { "cache-control": "no-store" } : {};
      return { ...answer, ...BAD_REQUEST, ...kept };
    },
  },
];

/** In the order in which they are applied: the cookies have our names first. */
export const DIFFERENCES = [...OF_ANY_ANSWER, ...OF_SESSIONS, ...OF_PROVIDERS, ...OF_PAGES_AND_PATHS];
