// The requests, and what hallpass answers otherwise on purpose.

const WRONG = "the password of somebody else";
const AUTH = "/api/auth";
/** What a client sends along to get JSON instead of a redirect. */
const asJson = (api, form) => (api === "authjs5" ? { form, headers: { "x-auth-return-redirect": "1" } } : { form: { ...form, json: "true" } });

const signIn = async (browser, { account, api }, fields = {}, asForm = false) => {
  const csrfToken = await browser.csrf();
  const form = { csrfToken, callbackUrl: `${browser.origin}/here`, email: account.email, password: account.password, ...fields };
  return browser.ask("POST", `${AUTH}/callback/credentials`, asForm ? { form } : asJson(api, form));
};

const get = (name, path) => ({ name, ask: (browser) => browser.ask("GET", `${AUTH}${path}`) });
const other = (method, path) => ({ name: `${method} ${path}`, ask: (browser) => browser.ask(method, `${AUTH}${path}`) });
/** A post with the token of the forms, as JSON and as a redirect. */
const post = (name, path, fields = {}) => [
  {
    name: `${name}, for a program`,
    ask: async (browser, { api }) => browser.ask("POST", `${AUTH}${path}`, asJson(api, { csrfToken: await browser.csrf(), ...fields })),
  },
  {
    name: `${name}, as a form`,
    ask: async (browser) => browser.ask("POST", `${AUTH}${path}`, { form: { csrfToken: await browser.csrf(), ...fields } }),
  },
];

export const TABLE = [
  get("csrf, first", "/csrf"),
  {
    name: "csrf, again",
    async ask(browser) {
      await browser.csrf();
      return browser.ask("GET", `${AUTH}/csrf`);
    },
  },
  get("providers", "/providers"),
  get("session of nobody", "/session"),
  { ...get("session of nobody, with a database", "/session"), database: true },
  {
    name: "session of somebody",
    async ask(browser, context) {
      await signIn(browser, context);
      return browser.ask("GET", `${AUTH}/session`);
    },
  },
  ...[{}, { callbackUrl: "/somewhere?a=b" }, { callbackUrl: "https://evil.example/" }].map((fields) => ({
    name: `sign-in, right, ${JSON.stringify(fields)}`,
    ask: (browser, context) => signIn(browser, context, fields),
  })),
  { name: "sign-in, wrong", ask: (browser, context) => signIn(browser, context, { password: WRONG }) },
  { name: "sign-in, right, as a form", ask: (browser, context) => signIn(browser, context, {}, true) },
  { name: "sign-in, wrong, as a form", ask: (browser, context) => signIn(browser, context, { password: WRONG }, true) },
  { name: "sign-in, without the token of the forms", ask: (browser, context) => signIn(browser, context, { csrfToken: "x" }) },
  {
    name: "update",
    async ask(browser, context) {
      await signIn(browser, context);
      return browser.ask("POST", `${AUTH}/session`, { json: { csrfToken: await browser.csrf(), data: { a: 1 } } });
    },
  },
  {
    name: "update by nobody",
    ask: async (browser) => browser.ask("POST", `${AUTH}/session`, { json: { csrfToken: await browser.csrf(), data: {} } }),
  },
  { name: "update without the token", ask: (browser) => browser.ask("POST", `${AUTH}/session`, { json: { csrfToken: "x", data: {} } }) },
  ...post("begin a sign-in", "/signin/credentials", { callbackUrl: "/somewhere" }),
  ...post("begin a sign-in with nobody", "/signin/nobody", { callbackUrl: "/somewhere" }),
  ...post("begin a sign-in without the token", "/signin/credentials", { csrfToken: "x" }),
  ...post("come back from nobody", "/callback/nobody"),
  ...post("sign out nobody", "/signout", { callbackUrl: "/goodbye" }),
  ...post("sign out without the token", "/signout", { csrfToken: "x" }),
  {
    name: "sign out",
    async ask(browser, context) {
      await signIn(browser, context);
      const form = { csrfToken: await browser.csrf(), callbackUrl: `${browser.origin}/goodbye` };
      return browser.ask("POST", `${AUTH}/signout`, asJson(context.api, form));
    },
  },
  get("sign-in page", "/signin?callbackUrl=%2Fsomewhere"),
  get("sign-in page with an error", "/signin?callbackUrl=%2Fsomewhere&error=SessionRequired"),
  get("sign-out page", "/signout"),
  get("error page", "/error?error=AccessDenied"),
  get("page of e-mailed links", "/verify-request"),
  get("unknown action", "/unknown"),
  get("too long a path", "/session/a/b"),
  { name: "the client's log", ask: (browser) => browser.ask("POST", `${AUTH}/_log`, { form: { level: "error", code: "CLIENT_FETCH_ERROR" } }) },
  ...["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"].map((method) => other(method, "/session")),
  other("POST", "/csrf"),
  other("POST", "/providers"),
];

const without = (answer, unwanted) => ({ ...answer, cookies: answer.cookies.filter((cookie) => !unwanted.test(cookie)) });
const withCookies = (answer, change) => ({ ...answer, cookies: answer.cookies.map(change).sort() });
const attributes = (cookie, change) => {
  const [pair, ...rest] = cookie.split("; ");
  return [pair, ...change(rest).sort()].join("; ");
};
/** Another address, wherever the answer names one. */
const to = (answer, address) => ({
  ...answer,
  location: answer.location && address,
  body: answer.body?.url ? { url: address } : answer.body,
});
const isRead = (path) => path.endsWith("/session");
const NOT_CACHED = { "cache-control": "private, no-cache, no-store", pragma: "no-cache", expires: "0" };
const PLAIN = { pragma: "", expires: "" };
const BAD_REQUEST = { status: 400, body: "Bad request.", "content-type": "application/json", "cache-control": "", location: "", cookies: [] };
/** A page of Auth.js's own. */
const isPage = (answer) => answer.body === "<page>";
const redirect = (answer, location) => ({ ...answer, status: 302, body: "", "content-type": "", location });

/** What `apply` makes of an answer of Auth.js is what hallpass must answer. In order; docs/INTEGRATION.md shows them. */
export const DIFFERENCES = [
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
  {
    when: "reading the session",
    theirs: "sets its cookie each time",
    ours: "when its expiry has moved",
    apply: (answer, { path }) => (isRead(path) ? without(answer, /session=<token>/) : answer),
  },
  {
    when: "signing in by password",
    theirs: "a signed token in a cookie that stays",
    ours: "a session in the database; its cookie ends with the browser unless `remember` is on",
    apply: (answer) =>
      withCookies(answer, (cookie) =>
        /session=<token>/.test(cookie) ? attributes(cookie, (all) => all.filter((one) => one !== "Expires=<time>")) : cookie,
      ),
  },
  {
    when: "signing in",
    theirs: "keeps the CSRF token",
    ours: "a new one, bound to the session",
    apply: (answer, { api, isSecure }) => {
      if (!answer.cookies.some((cookie) => /session=<token>/.test(cookie))) return answer;
      const name = `${isSecure ? "__Host-" : ""}${api === "authjs5" ? "authjs" : "next-auth"}.csrf-token`;
      const cookie = attributes(name, () => ["HttpOnly", "Path=/", "SameSite=Lax", ...(isSecure ? ["Secure"] : [])]);
      return { ...answer, cookies: [...answer.cookies, cookie.replace(name, `${name}=<64 hex>|<64 hex>`)].sort() };
    },
  },
  {
    when: "removing the session cookie",
    theirs: "`Max-Age=0`",
    ours: "`Expires` in the past too",
    apply: (answer) =>
      withCookies(answer, (cookie) =>
        /session=;/.test(cookie) ? attributes(cookie, (all) => [...all, "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]) : cookie,
      ),
  },
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
    apply: (answer, { api, path }) => (api === "nextauth4" && path.endsWith("/session/a/b") ? { ...answer, ...PLAIN, ...BAD_REQUEST } : answer),
  },
  {
    when: "a request that is none of the contract's",
    theirs: "400 with a sentence (version 4), or with a JSON string (version 5)",
    ours: "the JSON string in both",
    apply: (answer, { method, path }) => {
      if (answer.status !== 400 || (isRead(path) && method === "POST")) return answer;
      const kept = method === "HEAD" ? { body: "" } : path.includes("/callback/") ? { "cache-control": "no-store" } : {};
      return { ...answer, ...BAD_REQUEST, ...kept };
    },
  },
];
