// Signing in with a real OpenID provider: what works, and what must not.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { errorOf } from "./client.mjs";
import { somebody, startHouse } from "./house.mjs";
import { CLIENT_ID, newKey, sign } from "./provider.mjs";

let house;

before(async () => {
  house = await startHouse();
});

after(async () => {
  await house?.close();
});

beforeEach(() => {
  house.provider.calm();
  house.provider.user = somebody();
});

/** Nobody was signed in, for this reason, and the sign-in is used up. */
async function assertRefused(client, answer, code) {
  assert.equal(errorOf(answer), code, `${answer.status} ${answer.location}`);
  assert.equal(client.token, undefined);
  assert.equal(await client.who(), null);
}

describe("a sign-in", () => {
  test("makes an account and a session, and the next one finds them", async () => {
    const client = house.client();
    const address = new URL(await client.begin("corp", { callbackUrl: "/sessions?a=b" }));
    assert.equal(address.origin, house.provider.issuer);
    assert.equal(address.searchParams.get("code_challenge_method"), "S256");
    for (const name of ["state", "nonce", "code_challenge"]) assert.match(address.searchParams.get(name), /^[\w-]{43}$/);
    assert.equal(client.underWay().length, 1);
    const answer = await client.ask(await client.authorize(address));
    assert.deepEqual([answer.status, answer.location], [302, `${house.hallpass.origin}/sessions?a=b`]);
    assert.deepEqual(client.underWay(), [], "the sign-in is used up");
    assert.equal(await client.who(), house.provider.user.email);
    const again = house.client();
    await again.signIn();
    assert.equal(await again.who(), house.provider.user.email);
    assert.equal((await again.sessions()).length, 2);
  });

  test("is offered with its name and address", async () => {
    const { json } = await house.client().ask("/api/auth/providers");
    assert.deepEqual(Object.keys(json).sort(), ["corp", "credentials"]);
    assert.deepEqual(json.corp, {
      id: "corp",
      name: "Corp & Sons",
      type: "oidc",
      signinUrl: `${house.hallpass.origin}/api/auth/signin/corp`,
      callbackUrl: `${house.hallpass.origin}/api/auth/callback/corp`,
    });
  });

  test("a32 begins with a token of this browser, and not with a link", async () => {
    const client = house.client();
    const link = await client.ask("/api/auth/signin/corp");
    assert.equal(new URL(link.location).pathname, "/signin");
    const forged = await client.ask("/api/auth/signin/corp", { method: "POST", headers: { origin: house.hallpass.origin }, body: { csrfToken: "x" } });
    assert.equal(errorOf(forged), "MissingCSRF");
    const foreign = await client.post("/api/auth/signin/corp", {}, { origin: "https://evil.example" });
    assert.equal(foreign.status, 403);
    assert.deepEqual(client.underWay(), []);
  });

  test("a39 its target stays on this origin", async () => {
    for (const callbackUrl of ["https://evil.example/", "//evil.example", "/\\evil.example"]) {
      const client = house.client();
      const answer = await client.signIn("corp", { callbackUrl });
      assert.equal(answer.location, `${house.hallpass.origin}/`);
    }
  });

  test("passes on what a client may ask for, and nothing else", async () => {
    const query = "?prompt=consent&login_hint=a%40b&acr_values=urn:test:high&scope=admin&redirect_uri=https://evil.example&client_id=x&state=x&response_type=token";
    const address = new URL(await house.client().begin("corp", { query }));
    const of = (name) => address.searchParams.getAll(name);
    assert.deepEqual([of("prompt"), of("login_hint"), of("acr_values")], [["consent"], ["a@b"], ["urn:test:high"]]);
    assert.deepEqual([of("scope"), of("client_id"), of("response_type")], [["openid email profile"], [CLIENT_ID], ["code"]]);
    assert.deepEqual(of("redirect_uri"), [`${house.hallpass.origin}/api/auth/callback/corp`]);
    assert.notEqual(of("state")[0], "x");
  });

  test("a01 a02 over a live session replaces it, and the token is new", async () => {
    const client = house.client();
    await client.signIn();
    const old = client.token;
    await client.signIn();
    assert.notEqual(client.token, old);
    assert.equal((await client.sessions()).length, 1);
    const replay = await fetch(`${house.hallpass.origin}/api/sessions`, { headers: { cookie: `session=${old}` } });
    assert.equal(replay.status, 401);
  });

  test("several tabs do not disturb each other, and there is room for five", async () => {
    const client = house.client();
    const addresses = [];
    for (let n = 0; n < 6; n += 1) addresses.push(await client.begin("corp", { callbackUrl: `/${n}` }));
    assert.equal(client.underWay().length, 5);
    for (const n of [3, 1]) {
      const answer = await client.ask(await client.authorize(addresses[n]));
      assert.equal(answer.location, `${house.hallpass.origin}/${n}`);
    }
    assert.equal(errorOf(await client.ask(await client.authorize(addresses[0]))), "OAuthCallbackError");
  });
});

describe("what comes back", () => {
  test("must have the state of this browser", async () => {
    const client = house.client();
    const callback = new URL(await client.authorize(await client.begin()));
    const stranger = house.client();
    await assertRefused(stranger, await stranger.ask(callback), "OAuthCallbackError");
    for (const change of [
      (url) => url.searchParams.delete("state"),
      (url) => url.searchParams.set("state", "x".repeat(43)),
      (url) => url.searchParams.append("state", url.searchParams.get("state")),
      (url) => url.searchParams.set("state", ""),
    ]) {
      const changed = new URL(callback);
      change(changed);
      await assertRefused(client, await client.ask(changed), "OAuthCallbackError");
    }
    // The code of another browser, with a state of one's own.
    const own = new URL(await stranger.begin()).searchParams.get("state");
    callback.searchParams.set("state", own);
    const answer = await stranger.ask(callback);
    await assertRefused(stranger, answer, "OAuthCallbackError");
  });

  test("must have the state of its own cookie", async () => {
    // A cookie under the name of another sign-in's: only the state inside tells.
    const client = house.client();
    const first = new URL(await client.begin());
    const [name] = client.underWay();
    const value = client.jar().get(name);
    const second = new URL(await client.begin());
    const other = client.underWay().find((each) => each !== name);
    client.jar().set(other, value);
    const callback = new URL(await client.authorize(first));
    callback.searchParams.set("state", second.searchParams.get("state"));
    await assertRefused(client, await client.ask(callback), "OAuthCallbackError");
  });

  test("counts once", async () => {
    const client = house.client();
    const callback = await client.authorize(await client.begin());
    const cookies = new Map(client.jar());
    await client.ask(callback);
    const token = client.token;
    // Without the cookie it is nobody's.
    const replay = await client.ask(callback);
    assert.equal(errorOf(replay), "OAuthCallbackError");
    assert.equal(client.token, token, "a replay changes nothing");
    // With it, the provider knows the code as used.
    const thief = house.client();
    for (const [name, value] of cookies) thief.jar().set(name, value);
    await assertRefused(thief, await thief.ask(callback), "OAuthCallbackError");
  });

  test("must have exactly one code", async () => {
    for (const change of [
      (url) => url.searchParams.delete("code"),
      (url) => url.searchParams.append("code", "another"),
      (url) => url.searchParams.set("code", "made-up"),
      (url) => url.searchParams.set("code", "x".repeat(5000)),
    ]) {
      const client = house.client();
      const callback = new URL(await client.authorize(await client.begin()));
      change(callback);
      await assertRefused(client, await client.ask(callback), "OAuthCallbackError");
    }
  });

  test("must name its issuer, as this provider always does (RFC 9207)", async () => {
    for (const change of [(url) => url.searchParams.delete("iss"), (url) => url.searchParams.set("iss", "https://other.example")]) {
      const client = house.client();
      const callback = new URL(await client.authorize(await client.begin()));
      change(callback);
      await assertRefused(client, await client.ask(callback), "OAuthCallbackError");
    }
  });

  test("may be a no", async () => {
    house.provider.deny = true;
    const client = house.client();
    const answer = await client.signIn("corp", { callbackUrl: "/sessions" });
    await assertRefused(client, answer, "AccessDenied");
    assert.equal(new URL(answer.location).searchParams.get("callbackUrl"), `${house.hallpass.origin}/sessions`);
    assert.deepEqual(client.underWay(), []);
    const page = await client.ask(answer.location);
    assert.match(page.text, /You have no access/);
  });
});

describe("an ID token", () => {
  const seconds = () => Math.floor(Date.now() / 1000);
  let wrongKey;

  before(async () => {
    wrongKey = await newKey("key-1");
  });

  const claims = (change) => (all) => sign({ ...all, ...change }, { key: house.provider.key });
  const REFUSED = {
    "of another nonce": claims({ nonce: "x".repeat(43) }),
    "without a nonce": claims({ nonce: undefined }),
    "for another client": claims({ aud: "somebody-else" }),
    "for another client as well": claims({ aud: [CLIENT_ID, "somebody-else"] }),
    "issued to another client": claims({ azp: "somebody-else" }),
    "of another issuer": claims({ iss: "http://localhost:1" }),
    "without a subject": claims({ sub: undefined }),
    "with an empty subject": claims({ sub: "" }),
    "of another access token": claims({ at_hash: "AAAAAAAAAAAAAAAAAAAAAA" }),
    "that has expired": () => claims({ exp: seconds() - 35, iat: seconds() - 300 }),
    "from the future": () => claims({ iat: seconds() + 40, exp: seconds() + 300 }),
    "signed by nobody": () => (all) => sign(all, { header: {} }),
    "signed by another key": () => (all) => sign(all, { key: wrongKey }),
    "signed with the client's secret": () => async (all) => {
      const { SignJWT } = await import("jose");
      const { CLIENT_SECRET } = await import("./provider.mjs");
      return new SignJWT(all).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(CLIENT_SECRET));
    },
    "that is a logout token": () => (all) => sign(all, { key: house.provider.key, header: { typ: "logout+jwt" } }),
    "that is no token": () => () => "not a token",
  };

  for (const [name, make] of Object.entries(REFUSED)) {
    test(`${name} is refused`, async () => {
      house.provider.idToken = make.length === 0 ? make() : make;
      const client = house.client();
      await assertRefused(client, await client.signIn(), "OAuthCallbackError");
    });
  }

  for (const [name, change] of Object.entries({
    "that expired within the tolerance": () => ({ exp: seconds() - 15, iat: seconds() - 300 }),
    "from a clock that is a little ahead": () => ({ iat: seconds() + 15, exp: seconds() + 300 }),
    "issued to us by name": () => ({ azp: CLIENT_ID }),
  })) {
    test(`${name} is taken`, async () => {
      house.provider.idToken = claims(change());
      const client = house.client();
      await client.signIn();
      assert.equal(await client.who(), house.provider.user.email);
    });
  }

  test("that is missing is refused", async () => {
    house.provider.idToken = () => undefined;
    const client = house.client();
    await assertRefused(client, await client.signIn(), "OAuthCallbackError");
  });

  test("of a new key is taken after the keys were read anew, once in a while", async () => {
    await house.provider.rotate("key-2");
    const reads = house.provider.requests["/jwks"] ?? 0;
    const client = house.client();
    await client.signIn();
    assert.equal(await client.who(), house.provider.user.email);
    assert.equal(house.provider.requests["/jwks"], reads + 1);
    // Made-up keys do not make hallpass ask again and again.
    house.provider.idToken = (all) => sign(all, { key: { ...wrongKey, kid: "made-up" } });
    for (let n = 0; n < 4; n += 1) {
      const other = house.client();
      await assertRefused(other, await other.signIn(), "OAuthCallbackError");
    }
    assert.ok(house.provider.requests["/jwks"] <= reads + 2, `${house.provider.requests["/jwks"] - reads} reads`);
  });

  test("needs no user information, which must be about its subject", async () => {
    house.provider.userInfo = { sub: "somebody-else" };
    const client = house.client();
    await assertRefused(client, await client.signIn(), "OAuthCallbackError");
  });
});

describe("an account", () => {
  test("with the same address is not linked", async () => {
    const account = await house.account();
    house.provider.user = somebody({ email: account.email });
    const client = house.client();
    const answer = await client.signIn();
    await assertRefused(client, answer, "OAuthAccountNotLinked");
    assert.match((await client.ask(answer.location)).text, /Linked accounts/);
    // Not even for somebody who is signed in to it.
    await client.signInWithPassword(account);
    assert.equal(errorOf(await client.signIn()), "OAuthAccountNotLinked");
    assert.equal(await client.who(), account.email);
  });

  test("is not made of an address that the provider does not vouch for", async () => {
    for (const more of [{ email_verified: false }, { email_verified: undefined }, { email: undefined }, { email: "no address" }]) {
      house.provider.user = somebody(more);
      const client = house.client();
      await assertRefused(client, await client.signIn(), "OAuthCreateAccount");
    }
  });

  test("a09 that is disabled signs nobody in", async () => {
    const client = house.client();
    await client.signIn();
    const { email } = house.provider.user;
    assert.equal((await house.hallpass.run(["user", "disable", email])).code, 0);
    assert.equal(await client.who(), null);
    await assertRefused(house.client(), await house.client().signIn(), "AccessDenied");
    assert.equal((await house.hallpass.run(["user", "enable", email])).code, 0);
    const again = house.client();
    await again.signIn();
    assert.equal(await again.who(), email);
  });
});

describe("the provider", () => {
  test("a03 is believed when it authenticated the user long ago: the session is not fresh", async () => {
    const at = Math.floor(Date.now() / 1000) - 3600;
    house.provider.login = { ts: at, amr: ["pwd", "otp"], acr: "urn:test:high" };
    const client = house.client();
    await client.signIn();
    const [session] = await client.sessions();
    assert.equal(Date.parse(session.authenticatedAt), at * 1000);
    const refused = await client.ask("/linked-accounts", { method: "POST", headers: { origin: house.hallpass.origin, accept: "application/json" }, body: { action: "link" } });
    assert.deepEqual([refused.status, refused.json], [401, { error: "reauth_required" }]);
    // The same, asked for anew.
    house.provider.login = {};
    const answer = await client.signIn("corp", { query: "?prompt=login&max_age=0" });
    assert.equal(errorOf(answer), null);
    const [fresh] = await client.sessions();
    assert.ok(Date.now() - Date.parse(fresh.authenticatedAt) < 60_000, fresh.authenticatedAt);
  });

  test("that does not authenticate anew when it is asked to is not believed", async () => {
    const client = house.client();
    await client.signIn();
    const old = Math.floor(Date.now() / 1000) - 3600;
    house.provider.idToken = (all) => sign({ ...all, auth_time: old }, { key: house.provider.key });
    for (const query of ["?prompt=login&max_age=0", "?prompt=login", "?max_age=60"]) {
      assert.equal(errorOf(await client.signIn("corp", { query })), "OAuthTooOld", query);
    }
    house.provider.idToken = (all) => sign({ ...all, auth_time: undefined }, { key: house.provider.key });
    assert.equal(errorOf(await client.signIn("corp", { query: "?max_age=60" })), "OAuthTooOld");
    assert.equal(await client.who(), house.provider.user.email, "the session that was there goes on");
  });

  test("longer ago than a session may live begins one only where it is to be remembered", async () => {
    const days = 100;
    const old = Math.floor(Date.now() / 1000) - days * 86_400;
    house.provider.idToken = (all) => sign({ ...all, auth_time: old }, { key: house.provider.key });
    const client = house.client();
    assert.equal(errorOf(await client.signIn()), "OAuthTooOld");
    assert.equal(errorOf(await client.signIn("corp", { remember: "true" })), null);
    const [session] = await client.sessions();
    assert.equal(Date.parse(session.authenticatedAt), old * 1000);
    assert.ok(Date.parse(session.expires) > Date.now() + 89 * 86_400_000, session.expires);
  });

  test("that is down is a clear answer, and sessions go on", async () => {
    const live = house.client();
    await live.signIn();
    for (const path of ["/token", "/me"]) {
      house.provider.down = [path];
      house.provider.user = somebody();
      const client = house.client();
      const answer = await client.signIn();
      assert.equal(answer.status, 503, path);
      assert.match(answer.text, /cannot be reached at the moment/);
      assert.equal(answer.headers["retry-after"], "5");
      assert.equal(client.token, undefined);
      assert.deepEqual(client.underWay(), []);
    }
    house.provider.down = [];
    assert.ok(await live.who());
  });

  test("that hangs is given up", async () => {
    house.provider.hang = ["/token"];
    const client = house.client();
    const started = Date.now();
    const answer = await client.signIn();
    assert.equal(answer.status, 503);
    assert.ok(Date.now() - started < 8_000, `${Date.now() - started} ms`);
  });
});

test("a52 nothing of a sign-in is in the log", () => {
  const log = house.hallpass.log();
  for (const word of ["callback/corp?", "state=", "eyJ", "provider's secret"]) assert.ok(!log.includes(word), word);
});
