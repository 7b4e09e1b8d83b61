// Signing out at the provider as well (RP-initiated logout): what is asked of the provider, and what coming back from there does.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { somebody, startHouse } from "./house.mjs";
import { counted, METRICS_SECRET } from "./metrics.mjs";
import { CLIENT_ID, decode, sign, startProvider } from "./provider.mjs";

const JSON_WANTED = { "x-auth-return-redirect": "1" };
let house;
let origin;
let other;
let off;

before(async () => {
  [other, off] = await Promise.all([startProvider({ id: "other" }), startProvider({ id: "off" })]);
  house = await startHouse({
    others: [other, off],
    settings: {
      HALLPASS_METRICS_SECRET: METRICS_SECRET,
      HALLPASS_PROVIDERS_CORP_LOGOUT_AT_PROVIDER: "true",
      HALLPASS_PROVIDERS_OTHER_LOGOUT_AT_PROVIDER: "true",
      HALLPASS_PROVIDERS_OTHER_SIGN_UP: "true",
      HALLPASS_PROVIDERS_OFF_SIGN_UP: "true",
    },
  });
  ({ origin } = house.hallpass);
});

after(async () => {
  await house?.close();
});

beforeEach(() => {
  for (const provider of [house.provider, other, off]) {
    provider.calm();
    provider.user = somebody();
  }
});

/** Somebody who has signed in with `provider`, and what its ID token said. */
async function signedIn(provider = house.provider) {
  let claims;
  provider.idToken = (all, header, body) => {
    claims = decode(body.id_token).claims;
    return body.id_token;
  };
  const client = house.client();
  await client.signIn(provider.id);
  assert.equal(await client.who(), provider.user.email);
  return { client, claims };
}

/** Whether the provider lets the browser in again without asking who it is. */
async function isKnownAt(provider, client) {
  const before = provider.interactions;
  await client.signIn(provider.id);
  assert.ok(await client.who());
  return provider.interactions === before;
}

/** hallpass accepts the token no more, whatever cookies a browser still has. */
async function assertEnded(token) {
  const thief = house.client();
  thief.jar().set("session", token);
  assert.equal((await thief.ask("/api/sessions")).status, 401);
}

describe("a client of Auth.js", () => {
  test("is told the provider's address, and the session has ended by then", async () => {
    const { client, claims } = await signedIn();
    const { token } = client;
    const answer = await client.post("/api/auth/signout", { callbackUrl: "/sessions?a=b" }, JSON_WANTED);
    assert.equal(answer.status, 200);
    const address = new URL(answer.json.url);
    assert.equal(`${address.origin}${address.pathname}`, `${house.provider.issuer}/session/end`);
    const { state, ...rest } = Object.fromEntries(address.searchParams);
    assert.deepEqual(rest, { client_id: CLIENT_ID, logout_hint: claims.sid, post_logout_redirect_uri: `${origin}/api/auth/signed-out` });
    assert.match(state, /^[\w-]{43}$/);
    // With `redirect: false` the client goes nowhere, and is signed out all the same.
    assert.equal(client.token, undefined);
    await assertEnded(token);
    const cookie = answer.headers["set-cookie"].find((line) => line.startsWith("hallpass.sign-out."));
    assert.match(cookie, /^hallpass\.sign-out\.[0-9a-f]{16}=[\w.-]+; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/);
    assert.ok(!cookie.includes(state));
  });

  test("of a provider that names no session has the user's subject named", async () => {
    house.provider.idToken = ({ sid, ...claims }) => sign(claims, { key: house.provider.key });
    const client = house.client();
    await client.signIn();
    const address = new URL(await client.signOut());
    assert.equal(address.searchParams.get("logout_hint"), house.provider.user.sub);
  });

  test("comes back to where it wanted to go, signed out at both, and the provider's own logout is harmless", async () => {
    const { client } = await signedIn();
    assert.ok(await isKnownAt(house.provider, client), "single sign-on, until then");
    const nothing = await counted(house.hallpass, "backchannel_logouts", "corp", "nothing_to_end");
    const back = await client.confirmSignOut(await client.signOut("/sessions?a=b#c"));
    assert.equal(house.provider.logoutError, undefined);
    assert.equal(await counted(house.hallpass, "backchannel_logouts", "corp", "nothing_to_end"), nothing + 1, "the provider has sent its logout");
    assert.ok(back.startsWith(`${origin}/api/auth/signed-out?state=`), back);
    assert.equal(client.leaving().length, 1);
    const answer = await client.ask(back);
    assert.deepEqual([answer.status, answer.location], [302, `${origin}/sessions?a=b#c`]);
    assert.deepEqual(client.leaving(), [], "it is used up");
    assert.equal((await client.ask(back)).location, `${origin}/`);
    assert.equal(await isKnownAt(house.provider, client), false);
  });

  test("comes back from somebody who says no there, and nothing is claimed", async () => {
    const { client } = await signedIn();
    const { token } = client;
    const back = await client.confirmSignOut(await client.signOut("/x"), false);
    const answer = await client.ask(back);
    assert.deepEqual([answer.status, answer.location, answer.text], [302, `${origin}/x`, ""]);
    await assertEnded(token);
  });

  test("cannot be sent to another site afterwards", async () => {
    for (const callbackUrl of ["https://evil.example/", "//evil.example", "javascript:alert(1)", `${origin}@evil.example`]) {
      const { client } = await signedIn();
      const back = await client.confirmSignOut(await client.signOut(callbackUrl));
      assert.equal((await client.ask(back)).location, `${origin}/`, callbackUrl);
    }
  });

  test("of several requests at once one is sent to the provider", async () => {
    const { client } = await signedIn();
    const csrfToken = await client.csrf();
    const all = Array.from({ length: 8 }, () =>
      client.ask("/api/auth/signout", { method: "POST", headers: { origin, ...JSON_WANTED }, body: { csrfToken, callbackUrl: "/" } }),
    );
    const sent = (await Promise.all(all)).filter(({ json }) => json.url.startsWith(house.provider.issuer));
    assert.equal(sent.length, 1);
  });
});

describe("a form", () => {
  for (const [path, target] of [
    ["/sessions/sign-out", "/signin"],
    ["/api/auth/signout", "/linked-accounts"],
  ]) {
    test(`posted to ${path} gets a page that goes on, since the policy of forms would stop a redirect`, async () => {
      const { client } = await signedIn();
      const { token } = client;
      const page = await client.post(path, { callbackUrl: target }, { "sec-fetch-mode": "navigate" });
      assert.deepEqual([page.status, page.location], [200, undefined]);
      assert.match(page.text, /You have signed out here/);
      const address = page.text.match(/http-equiv="refresh" content="0; url=([^"]+)"/)[1].replaceAll(/&#38;|&amp;/g, "&");
      assert.ok(address.startsWith(`${house.provider.issuer}/session/end?`), address);
      assert.equal(client.token, undefined);
      await assertEnded(token);
      const answer = await client.ask(await client.confirmSignOut(address));
      assert.equal(answer.location, `${origin}${target}`);
    });
  }

  test("of a program gets a redirect", async () => {
    const { client } = await signedIn();
    const answer = await client.post("/sessions/sign-out");
    assert.equal(answer.status, 302);
    assert.ok(answer.location.startsWith(`${house.provider.issuer}/session/end?`));
  });

  test("is posted: a link signs nobody out", async () => {
    const { client } = await signedIn();
    for (const method of ["GET", "HEAD", "PUT"]) {
      const answer = await client.ask("/sessions/sign-out", { method, headers: { origin, "sec-fetch-mode": "navigate" } });
      assert.deepEqual([answer.status, answer.location], [405, undefined], method);
    }
    const link = await client.ask("/api/auth/signout", { headers: { "sec-fetch-mode": "navigate", "sec-fetch-site": "cross-site" } });
    assert.deepEqual([link.status, link.location], [302, `${origin}/`]);
    assert.deepEqual(client.leaving(), []);
    assert.ok(await client.who());
  });

  test("of another site signs nobody out, and tells nothing", async () => {
    const { client } = await signedIn();
    for (const path of ["/sessions/sign-out", "/api/auth/signout"]) {
      const answer = await client.post(path, {}, { origin: "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" });
      assert.deepEqual([answer.status, answer.location], [403, undefined], path);
    }
    const without = await client.ask("/api/auth/signout", { method: "POST", headers: { origin, ...JSON_WANTED }, body: { callbackUrl: "/" } });
    assert.equal(new URL(without.json.url).searchParams.get("error"), "MissingCSRF");
    assert.deepEqual(client.leaving(), []);
    assert.ok(await client.who());
  });
});

test("a session that began with the provider goes there also when its user has confirmed with a password since", async () => {
  const account = await house.account();
  const client = house.client();
  await client.signInWithPassword(account);
  const page = await client.post("/linked-accounts", { action: "link", provider: "corp" }, { "sec-fetch-mode": "navigate" });
  const address = page.text.match(/http-equiv="refresh" content="0; url=([^"]+)"/)[1].replaceAll(/&#38;|&amp;/g, "&");
  await client.ask(await client.authorize(address));
  // Linking is no sign-in: the session is still one by password.
  assert.equal(await client.signOut(), `${origin}/`);
  await client.signIn();
  const [{ id }] = await client.sessions();
  await client.signInWithPassword(account);
  assert.equal((await client.sessions())[0].id, id, "the session goes on");
  assert.ok((await client.signOut()).startsWith(`${house.provider.issuer}/session/end?`));
});

describe("who is not sent to the provider", () => {
  const here = "/x";

  test("a session by password", async () => {
    const account = await house.account();
    const client = house.client();
    await client.signInWithPassword(account);
    assert.equal(await client.signOut(here), `${origin}${here}`);
    assert.deepEqual(client.leaving(), []);
    await client.signInWithPassword(account);
    const form = await client.post("/sessions/sign-out", {}, { "sec-fetch-mode": "navigate" });
    assert.deepEqual([form.status, form.headers.location], [303, "/signin"]);
    assert.equal(client.token, undefined);
  });

  test("a session of a provider with the setting off", async () => {
    const { client } = await signedIn(off);
    assert.equal(await client.signOut(here), `${origin}${here}`);
    assert.deepEqual(client.leaving(), []);
    assert.ok(await isKnownAt(off, client));
  });

  test("and each session goes to the provider it came from", async () => {
    const { client } = await signedIn(other);
    assert.ok((await client.signOut()).startsWith(`${other.issuer}/session/end?`));
    const { client: second } = await signedIn();
    assert.ok((await second.signOut()).startsWith(`${house.provider.issuer}/session/end?`));
  });

  test("nobody, and a session that was ended elsewhere: its token must not tell whose it was", async () => {
    const nobody = house.client();
    assert.equal(await nobody.signOut(here), `${origin}${here}`);
    const { client } = await signedIn();
    const { client: second } = await signedIn();
    assert.equal((await second.sessions()).length, 2);
    const ended = await second.ask("/api/sessions", {
      method: "DELETE",
      headers: { origin },
      json: { all: true },
    });
    assert.deepEqual([ended.status, ended.json], [200, { success: true, revoked: 1 }]);
    assert.equal(await client.signOut(here), `${origin}${here}`);
    assert.deepEqual(client.leaving(), []);
    assert.ok(await second.who());
  });

  test("who ends a session in the list, another one or this one", async () => {
    const { client } = await signedIn();
    const { client: second } = await signedIn();
    const [mine, theirs] = await Promise.all([client, second].map(async (each) => (await each.sessions()).find(({ isCurrent }) => isCurrent).id));
    const another = await client.post("/sessions/revoke", { id: theirs }, { "sec-fetch-mode": "navigate" });
    assert.equal(another.location, `${origin}/sessions?notice=ended&count=1`);
    const own = await client.post("/sessions/revoke", { id: mine }, { "sec-fetch-mode": "navigate" });
    assert.deepEqual([own.status, own.location], [303, `${origin}/signin`]);
    assert.deepEqual(client.leaving(), []);
  });
});

describe("what comes back", () => {
  const back = (query) => `/api/auth/signed-out${query}`;

  test("with a state that is not this browser's goes to the start page and nowhere else", async () => {
    const { client } = await signedIn();
    const state = new URL(await client.signOut("/sessions")).searchParams.get("state");
    const [name] = client.leaving();
    const value = client.jar().get(name);
    const [payload, tag] = value.split(".");
    const evil = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(payload, "base64url")), target: `${origin}/evil` })).toString("base64url");
    const stranger = (cookie) => {
      const browser = house.client();
      if (cookie) browser.jar().set(name, cookie);
      return browser;
    };
    for (const [browser, query] of [
      [stranger(), ""],
      [stranger(), "?state="],
      [stranger(), `?state=${state}`],
      [stranger(`${evil}.${tag}`), `?state=${state}`],
      [stranger(`${payload}.`), `?state=${state}`],
      [stranger(payload), `?state=${state}`],
      [stranger(value), "?state=made-up"],
      [stranger(), "?state=made-up&callbackUrl=/sessions"],
      [stranger(value), `?state=${state}&state=${state}`],
      [stranger(value), `?state=${"x".repeat(200)}`],
    ]) {
      const answer = await browser.ask(back(query));
      assert.deepEqual([answer.status, answer.location, answer.text], [302, `${origin}/`, ""], query);
    }
    // This browser's own still counts.
    assert.equal((await client.ask(back(`?state=${state}`))).location, `${origin}/sessions`);
  });

  test("is a GET alone", async () => {
    const answer = await house.client().post("/api/auth/signed-out");
    assert.equal(answer.status, 400);
  });

  test("in six tabs pushes out the oldest", async () => {
    const { client } = await signedIn();
    for (let n = 0; n < 6; n += 1) {
      if (n > 0) await client.signIn();
      await client.signOut();
    }
    assert.equal(client.leaving().length, 5);
  });
});

test("what happens is counted", async () => {
  const count = (name, outcome, provider = "corp") => counted(house.hallpass, name, provider, outcome);
  const now = async () => ({
    in: await count("provider_sign_ins", "signed_in"),
    denied: await count("provider_sign_ins", "denied"),
    sent: await count("rp_initiated_logouts", "sent"),
    returned: await count("rp_initiated_logouts", "returned"),
    ended: await count("backchannel_logouts", "ended"),
    refused: await count("backchannel_logouts", "refused"),
    others: await count("rp_initiated_logouts", "sent", "other"),
    off: await count("rp_initiated_logouts", "sent", "off"),
  });
  const before = await now();
  const { client } = await signedIn();
  await client.ask(await client.confirmSignOut(await client.signOut()));
  const { client: second } = await signedIn();
  await second.confirmSignOut(`${house.provider.issuer}/session/end?client_id=${CLIENT_ID}`);
  assert.equal(await second.who(), null, "the provider's own logout");
  house.provider.deny = true;
  house.provider.user = somebody();
  await house.client().signIn();
  await fetch(`${origin}/api/auth/backchannel-logout/corp`, { method: "POST", body: new URLSearchParams({ logout_token: "x" }) });
  const added = Object.fromEntries(Object.entries(await now()).map(([name, value]) => [name, value - before[name]]));
  assert.deepEqual(added, { in: 2, denied: 1, sent: 1, returned: 1, ended: 1, refused: 1, others: 0, off: 0 });
  assert.equal(await count("provider_sign_ins", "signed_in", "nobody"), undefined);
  assert.equal(await count("rp_initiated_logouts", "misconfigured"), 0, "what has not happened is there, as 0");
});
