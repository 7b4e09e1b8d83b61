// Sessions in a database, on both sides, and the way into one that both sides know: an OpenID provider. `about` says what a row is about, where its
// request alone does not.

import { sign } from "../oidc/provider.mjs";
import { asJson, AUTH, get, post } from "./wire_requests.mjs";

export const HERE = "/here?a=b";

/** Where the browser is sent to begin a sign-in. */
async function begin(browser, { provider }, fields = {}) {
  const form = { csrfToken: await browser.csrf(), callbackUrl: HERE, ...fields };
  const { headers } = await browser.ask("POST", `${AUTH}/signin/${provider.id}`, { form });
  return headers.find(([name]) => name === "location")[1];
}

/** The way back from the provider, which `bend` may change. */
async function wayBack(browser, context, bend = () => {}) {
  const [path, text] = (await browser.visit(await begin(browser, context))).split("?");
  const query = new URLSearchParams(text);
  bend(query);
  return `${path}?${query}`;
}

const arrive = async (browser, context, bend) => browser.ask("GET", await wayBack(browser, context, bend));
const arriveToStay = async (browser, context) => browser.ask("GET", await browser.visit(await begin(browser, context, { remember: "true" })));
const bent = (name, bend, more = {}) => ({ name, ask: (browser, context) => arrive(browser, context, bend), ...more });
const read = (browser) => browser.ask("GET", `${AUTH}/session`);
/** With `token` in the session cookie at last, since getting the token of the forms takes away one that is worth nothing. */
const signOut = async (browser, { api }, token = browser.token) => {
  const form = { csrfToken: await browser.csrf(), callbackUrl: "/goodbye" };
  browser.replaceToken((cookie) => [[cookie, token]]);
  return browser.ask("POST", `${AUTH}/signout`, asJson(api, form));
};

/** A row of somebody who is signed in with the provider. */
const signedIn = (name, ask, more = {}) => ({
  name,
  async ask(browser, context) {
    await arrive(browser, context);
    return ask(browser, context);
  },
  ...more,
});

/** The same after so many days. */
const aged = (days, name, ask, more) =>
  signedIn(
    name,
    async (browser, context) => {
      await context.database.age(context.provider.user.email, days);
      return ask(browser, context);
    },
    more,
  );

/** Update age is a day, and sessions end after thirty. */
const WITHIN = 0.5;
const DUE = 2;
const OVER = 31;
/** As long as a token, and none. */
const GARBAGE = "x".repeat(80);

/** Somebody else at the provider. */
export const other = (user) => ({ ...user, sub: `${user.sub}-other`, email: `other-${user.email}`, name: "Somebody else" });

/** Signs in as somebody else, whom neither side knows yet. */
const asAnother = async (browser, context) => {
  context.provider.user = other(context.provider.user);
  browser.leaveProvider();
  return arrive(browser, context);
};

/** The same, when that other has an account. */
const asKnown = async (browser, context) => {
  const { user } = context.provider;
  await asAnother(context.newBrowser(), context);
  context.provider.user = user;
  return asAnother(browser, context);
};

const then = (first, second) => async (browser, context) => {
  await first(browser, context);
  return second(browser, context);
};

/** The token in cookies whose names are not that of the session cookie. */
const named = (name, make) =>
  signedIn(name, (browser) => {
    browser.replaceToken(make);
    return read(browser);
  });

/** What the token of before is worth after `again`. */
const old = (name, again, about) =>
  signedIn(
    name,
    async (browser, context) => {
      const { token } = browser;
      await again(browser, context);
      browser.replaceToken((cookie) => [[cookie, token]]);
      return read(browser);
    },
    { about, old: true },
  );

export const TABLE = [
  get("csrf", "/csrf"),
  get("providers", "/providers"),
  get("session of nobody", "/session"),

  ...post("begin", "/signin/corp", { callbackUrl: HERE }),
  ...post("begin, to be remembered", "/signin/corp", { callbackUrl: HERE, remember: "true" }),
  ...post("begin, with what the provider is to be asked", "/signin/corp?login_hint=ada%40example.org&audience=x", { callbackUrl: HERE }),
  {
    name: "begin, by a form of a page",
    ask: async (browser) =>
      browser.ask("POST", `${AUTH}/signin/corp`, {
        form: { csrfToken: await browser.csrf(), callbackUrl: HERE },
        headers: { "sec-fetch-mode": "navigate", "sec-fetch-site": "same-origin" },
      }),
    about: "a form of a page",
  },
  ...post("begin without the token", "/signin/corp", { csrfToken: "x" }),
  ...post("begin with nobody", "/signin/nobody"),

  { name: "come back, for the first time", ask: arrive },
  {
    name: "come back, once more in another browser",
    async ask(browser, context) {
      await arrive(browser, context);
      return arrive(context.newBrowser(), context);
    },
  },
  { name: "come back, to be remembered", ask: arriveToStay, about: "to be remembered" },
  {
    name: "come back with another identity of the same address",
    async ask(browser, context) {
      await arrive(browser, context);
      context.provider.user = { ...context.provider.user, sub: `${context.provider.user.sub}-other` };
      return arrive(context.newBrowser(), context);
    },
  },

  signedIn("session", read),
  aged(WITHIN, "session, within the update age", read),
  aged(DUE, "session, after the update age", read),
  aged(DUE, "session, after the update age, again", then(read, read)),
  {
    name: "session of somebody who is remembered, after the update age",
    async ask(browser, context) {
      await arriveToStay(browser, context);
      await context.database.age(context.provider.user.email, DUE);
      return read(browser);
    },
    about: "to be remembered",
  },
  aged(OVER, "session, over", read),
  {
    name: "session of a token that never was",
    ask(browser) {
      browser.replaceToken((cookie) => [[cookie, GARBAGE]]);
      return read(browser);
    },
  },
  signedIn("update", async (browser) => browser.ask("POST", `${AUTH}/session`, { json: { csrfToken: await browser.csrf(), data: { name: "x" } } })),
  aged(DUE, "update, after the update age", async (browser) =>
    browser.ask("POST", `${AUTH}/session`, { json: { csrfToken: await browser.csrf(), data: {} } }),
  ),

  signedIn("sign in again", arrive),
  signedIn("sign in again, session afterwards", then(arrive, read)),
  old("sign in again, session of the old token", arrive),
  aged(DUE, "sign in again, after the update age", arrive),
  aged(DUE, "sign in again, after the update age, session afterwards", then(arrive, read)),
  aged(OVER, "sign in over a session that is over", arrive),
  aged(OVER, "sign in over a session that is over, session afterwards", then(arrive, read), { about: "a session that was over" }),
  {
    name: "sign in over a token that never was",
    ask(browser, context) {
      browser.replaceToken((cookie) => [[cookie, GARBAGE]]);
      return arrive(browser, context);
    },
  },

  signedIn("sign in as somebody else", asKnown, { about: "somebody else" }),
  signedIn("sign in as somebody else, session afterwards", then(asKnown, read), { about: "somebody else" }),
  old("sign in as somebody else, session of the old token", asKnown, "somebody else"),
  signedIn("sign in with an identity that nobody has", asAnother, { about: "an identity that nobody has" }),
  signedIn("sign in with an identity that nobody has, session afterwards", then(asAnother, read), { about: "an identity that nobody has" }),
  old("sign in with an identity that nobody has, session of the old token", asAnother, "an identity that nobody has"),

  signedIn("sign out", signOut),
  old("sign out, session of the old token", signOut),
  aged(OVER, "sign out of a session that is over", signOut),
  { name: "sign out of a token that never was", ask: (browser, context) => signOut(browser, context, GARBAGE) },

  named("the token under a shorter name", (name, token) => [[name.slice(0, -1), token]]),
  named("the token under a longer name", (name, token) => [[`${name}x`, token]]),
  named("the token under a name with something before it", (name, token) => [[`x${name}`, token]]),
  named("the token without the prefix of https", (name, token) => [[name.replace(/^__[A-Za-z]+-/, ""), token]]),
  named("the token in two cookies of which one has a longer name", (name, token) => [[name, token.slice(0, 20)], [`${name}x`, token.slice(20)]]),
  named("the token, and a cookie of a longer name", (name, token) => [[name, token], [`${name}x`, "x"]]),
  named("the token in parts", (name, token) => [[`${name}.0`, token.slice(0, 20)], [`${name}.1`, token.slice(20)]]),
  named("the token, and a part that somebody else has set", (name, token) => [[name, token], [`${name}.1`, "x"]]),

  { name: "come back from nobody", ask: (browser) => browser.ask("GET", `${AUTH}/callback/nobody?code=a&state=b`) },
  { name: "come back unasked", ask: (browser) => browser.ask("GET", `${AUTH}/callback/corp`), about: "another state" },
  ...post("come back by a form", "/callback/corp"),
  {
    name: "come back with what another browser has asked for",
    ask: async (browser, context) => browser.ask("GET", await wayBack(context.newBrowser(), context)),
    about: "another state",
  },
  bent("come back with another state", (query) => query.set("state", "x".repeat(43)), { about: "another state" }),
  bent("come back without a state", (query) => query.delete("state"), { about: "another state" }),
  bent("come back without a code", (query) => query.delete("code")),
  bent("come back with another code", (query) => query.set("code", "x")),
  bent("come back with another issuer", (query) => query.set("iss", "https://evil.example")),
  bent("come back with an error of the provider", (query) => (query.delete("code"), query.set("error", "temporarily_unavailable")), {
    about: "the provider is down",
  }),
  bent("come back with an error of the request", (query) => (query.delete("code"), query.set("error", "invalid_scope"))),
  {
    name: "come back twice",
    async ask(browser, context) {
      const address = await wayBack(browser, context);
      await browser.ask("GET", address);
      return browser.ask("GET", address);
    },
    about: "another state",
  },
  {
    name: "come back, refused by the user",
    ask(browser, context) {
      context.provider.deny = true;
      return arrive(browser, context);
    },
    about: "refused",
  },
  {
    name: "come back with an ID token of another nonce",
    ask(browser, context) {
      const { key } = context.provider;
      context.provider.idToken = (claims) => sign({ ...claims, nonce: "x" }, { key });
      return arrive(browser, context);
    },
  },
  {
    name: "come back while the provider is down",
    async ask(browser, context) {
      const address = await wayBack(browser, context);
      context.provider.down = ["/token"];
      return browser.ask("GET", address);
    },
    about: "the provider is down",
  },
];
