// Requests that do the same whether Auth.js keeps sessions in a database or in the cookie, and signing in by password, which it can do without a
// database alone.

import { asJson, AUTH, get, post } from "./wire_requests.mjs";

const WRONG = "the password of somebody else";

const signIn = async (browser, { account, api }, fields = {}, asForm = false) => {
  const csrfToken = await browser.csrf();
  const form = { csrfToken, callbackUrl: `${browser.origin}/here`, email: account.email, password: account.password, ...fields };
  return browser.ask("POST", `${AUTH}/callback/credentials`, asForm ? { form } : asJson(api, form));
};

const other = (method, path) => ({ name: `${method} ${path}`, ask: (browser) => browser.ask(method, `${AUTH}${path}`) });

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
  {
    name: "session of somebody",
    async ask(browser, context) {
      await signIn(browser, context);
      return browser.ask("GET", `${AUTH}/session`);
    },
  },
  ...[{}, { remember: "true" }, { callbackUrl: "/somewhere?a=b" }, { callbackUrl: "https://evil.example/" }].map((fields) => ({
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
  get("sign-in page of a provider", "/signin/corp?callbackUrl=%2Fsomewhere"),
  get("sign-out page", "/signout"),
  get("error page", "/error?error=AccessDenied"),
  get("page of e-mailed links", "/verify-request"),
  get("come back with a password by a link", "/callback/credentials"),
  get("unknown action", "/unknown"),
  get("too long a path", "/session/a/b"),
  { name: "the client's log", ask: (browser) => browser.ask("POST", `${AUTH}/_log`, { form: { level: "error", code: "CLIENT_FETCH_ERROR" } }) },
  ...["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"].map((method) => other(method, "/session")),
  other("POST", "/csrf"),
  other("POST", "/providers"),
];
