// Back-channel logout: each rule of the specification as a token that breaks it, then the provider's own.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { somebody, startHouse } from "./house.mjs";
import { counted, METRICS_SECRET } from "./metrics.mjs";
import { CLIENT_ID, CLIENT_SECRET, decode, newKey, sign } from "./provider.mjs";

const EVENT = "http://schemas.openid.net/event/backchannel-logout";
const seconds = () => Math.floor(Date.now() / 1000);
let house;
let idToken;

before(async () => {
  house = await startHouse({ settings: { HALLPASS_METRICS_SECRET: METRICS_SECRET } });
});

after(async () => {
  await house?.close();
});

beforeEach(() => {
  house.provider.calm();
  house.provider.user = somebody();
  house.provider.idToken = (claims, header, body) => {
    idToken = body.id_token;
    return body.id_token;
  };
});

/** The claims of a logout token that counts. */
function claims(more = {}) {
  return {
    iss: house.provider.issuer,
    aud: CLIENT_ID,
    iat: seconds(),
    exp: seconds() + 120,
    jti: randomUUID(),
    events: { [EVENT]: {} },
    ...more,
  };
}

const HEADER = { typ: "logout+jwt" };
const signed = (all, header = HEADER, key = house.provider.key) => sign(all, { key, header });

async function post(token, { path = "corp", headers = {}, body } = {}) {
  const response = await fetch(`${house.hallpass.origin}/api/auth/backchannel-logout/${path}`, {
    method: "POST",
    headers,
    body: body ?? new URLSearchParams({ logout_token: token }),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  return { status: response.status, cache: response.headers.get("cache-control"), text, json: text ? JSON.parse(text) : null };
}

/** Signs in; what the ID token said goes along. */
async function signedIn() {
  const client = house.client();
  await client.signIn();
  assert.ok(await client.who());
  return { client, ...decode(idToken).claims };
}

describe("a logout token", () => {
  test("by sid ends that session, at once, and no other", async () => {
    const [one, two] = [await signedIn(), await signedIn()];
    assert.notEqual(one.sid, two.sid);
    const answer = await post(await signed(claims({ sid: one.sid })));
    assert.deepEqual([answer.status, answer.cache, answer.text], [200, "no-store", ""]);
    assert.equal(await one.client.who(), null);
    assert.ok(await two.client.who());
  });

  test("by sub ends all sessions of the user, and nobody else's", async () => {
    const mine = [await signedIn(), await signedIn(), await signedIn()];
    house.provider.user = somebody();
    const other = await signedIn();
    assert.equal((await post(await signed(claims({ sub: mine[0].sub })))).status, 200);
    for (const { client } of mine) assert.equal(await client.who(), null);
    assert.ok(await other.client.who());
  });

  test("by both ends what both match", async () => {
    const one = await signedIn();
    assert.equal((await post(await signed(claims({ sid: one.sid, sub: "somebody-else" })))).status, 200);
    assert.ok(await one.client.who());
    assert.equal((await post(await signed(claims({ sid: one.sid, sub: one.sub })))).status, 200);
    assert.equal(await one.client.who(), null);
  });

  test("that matches nothing is 200 all the same", async () => {
    const answer = await post(await signed(claims({ sid: "unknown" })));
    assert.deepEqual([answer.status, answer.text], [200, ""]);
  });

  test("leaves sessions by password alone", async () => {
    const account = await house.account();
    const client = house.client();
    await client.signInWithPassword(account);
    assert.equal((await post(await signed(claims({ sub: account.email })))).status, 200);
    assert.equal(await client.who(), account.email);
  });

  test("needs no cookie and no origin, and a foreign origin changes nothing", async () => {
    const one = await signedIn();
    const headers = { origin: "https://id.example", "sec-fetch-site": "cross-site", cookie: "session=junk; session=junk2" };
    assert.equal((await post(await signed(claims({ sid: one.sid })), { headers })).status, 200);
    assert.equal(await one.client.who(), null);
  });

  test("counts once", async () => {
    const token = await signed(claims({ sub: "x" }));
    assert.equal((await post(token)).status, 200);
    const replay = await post(token);
    assert.deepEqual([replay.status, replay.json.error, replay.json.error_description], [400, "invalid_request", "it was used before"]);
  });
});

describe("refused is a token", () => {
  let wrongKey;
  let one;

  before(async () => {
    wrongKey = await newKey(house.provider.key.kid);
  });

  const of = (more, header) => () => signed(claims({ sid: one.sid, ...more }), header);
  const REFUSED = {
    "without a type": [of({}, {}), "typ"],
    "of the type JWT": [of({}, { typ: "JWT" }), "typ"],
    "of another type": [of({}, { typ: "secevent+jwt" }), "typ"],
    "with a critical header": [of({}, { ...HEADER, crit: ["x"], x: 1 }), "crit"],
    "signed by nobody": [() => sign(claims({ sid: one.sid }), { header: HEADER }), "alg"],
    "signed with the client's secret": [
      async () => {
        const { SignJWT } = await import("jose");
        return new SignJWT(claims({ sid: one.sid })).setProtectedHeader({ alg: "HS256", ...HEADER }).sign(Buffer.from(CLIENT_SECRET));
      },
      "alg",
    ],
    "signed by another key": [() => signed(claims({ sid: one.sid }), HEADER, wrongKey), "signature"],
    "that brings its own key": [() => signed(claims({ sid: one.sid }), { ...HEADER, jwk: { ...wrongKey.jwk, d: undefined }, jku: "http://localhost:1/jwks" }, wrongKey), "signature"],
    "of another issuer": [of({ iss: "https://other.example" }), "iss"],
    "without an issuer": [of({ iss: undefined }), "iss"],
    "for another client": [of({ aud: "somebody-else" }), "aud"],
    "for nobody": [of({ aud: undefined }), "aud"],
    "without iat": [of({ iat: undefined }), "iat"],
    "of the future": [of({ iat: seconds() + 60, exp: seconds() + 120 }), "iat is in the future"],
    "that is old": [of({ iat: seconds() - 200, exp: seconds() + 60 }), "too long ago"],
    "without exp": [of({ exp: undefined }), "exp"],
    "that has expired": [of({ iat: seconds() - 100, exp: seconds() - 60 }), "expired"],
    "that lives too long": [of({ exp: seconds() + 3600 }), "too long"],
    "without jti": [of({ jti: undefined }), "jti"],
    "with an empty jti": [of({ jti: "" }), "jti"],
    "without events": [of({ events: undefined }), "events"],
    "of another event": [of({ events: { "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {} } }), "events"],
    "whose event is no object": [of({ events: { [EVENT]: "yes" } }), "events"],
    "with a nonce": [of({ nonce: "x" }), "nonce"],
    "with a nonce that is null": [of({ nonce: null }), "nonce"],
    "about nobody": [of({ sid: undefined }), "neither"],
    "whose sid is a number": [of({ sid: 7 }), "sub or sid"],
    "whose sub is empty": [of({ sub: "" }), "sub or sid"],
    "that is an ID token": [() => idToken, "typ"],
    "that is no token": [() => "junk", "no signed token"],
    "that is large": [() => `${"x".repeat(9000)}.x.x`, "no signed token"],
  };

  for (const [name, [make, why]] of Object.entries(REFUSED)) {
    test(name, async () => {
      one ??= await signedIn();
      const answer = await post(await make());
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.cache, "no-store");
      assert.equal(answer.json.error, "invalid_request");
      assert.ok(answer.json.error_description.includes(why), answer.json.error_description);
      assert.ok(await one.client.who(), "the session goes on");
      // Junk is limited, and what counts gives its share back: this keeps the bucket from running dry.
      await settle();
    });
  }

  /** Waits until the address may send junk again, by asking with a token that counts. */
  async function settle() {
    for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
      if ((await post(await signed(claims({ sid: "nobody" })))).status !== 429) return;
    }
  }

  test("none, two of them, another content type, and too much", async () => {
    const calmly = async (...request) => {
      await settle();
      return post(...request);
    };
    const token = await signed(claims({ sid: one.sid }));
    const body = (text) => ({ body: text, headers: { "content-type": "application/x-www-form-urlencoded" } });
    assert.equal((await calmly("", body("x=y"))).status, 400);
    assert.equal((await calmly("", body(`logout_token=${token}&logout_token=${token}`))).status, 400);
    assert.equal((await calmly("", { body: JSON.stringify({ logout_token: token }), headers: { "content-type": "application/json" } })).status, 415);
    assert.equal((await calmly("", body(`logout_token=${token}&x=${"y".repeat(20_000)}`))).status, 413);
    assert.equal((await calmly(token, { path: "nobody" })).status, 404);
    const get = await fetch(`${house.hallpass.origin}/api/auth/backchannel-logout/corp`);
    assert.equal(get.status, 405);
    assert.ok(await one.client.who());
  });

  test("that comes in floods", async () => {
    const statuses = await Promise.all(Array.from({ length: 200 }, () => post("junk").then(({ status }) => status)));
    assert.ok(statuses.filter((status) => status === 400).length <= 31, `${statuses.filter((status) => status === 400).length} were looked at`);
    assert.ok(statuses.includes(429));
    const limited = statuses.filter((status) => status === 429).length;
    assert.ok((await counted(house.hallpass, "backchannel_logouts", "corp", "limited")) >= limited);
    // The bucket is full again for the tests that follow.
    await settle();
  });
});

describe("a logout and a sign-in at once", () => {
  test("a logout that comes before the session is known here keeps it from beginning", async () => {
    const client = house.client();
    const callback = await client.authorize(await client.begin());
    // The ID token is made, and before it gets here the provider logs its session out.
    let logout;
    house.provider.idToken = async (all, header, body) => {
      logout = await post(await signed(claims({ sid: all.sid, sub: all.sub })));
      return body.id_token;
    };
    const answer = await client.ask(callback);
    assert.equal(logout.status, 200);
    assert.equal(new URL(answer.location).searchParams.get("error"), "OAuthCallbackError");
    assert.deepEqual(answer.headers["set-cookie"] ?? [], []);
    assert.equal(await client.who(), null);
    const { stdout } = await house.hallpass.run(["sessions", "list", "--user", house.provider.user.email, "--json"]);
    assert.deepEqual(JSON.parse(stdout).sessions, [], stdout);
  });
});

describe("the provider's own logout", () => {
  test("ends the session here", async () => {
    house.provider.idToken = null;
    const client = house.client();
    await client.signIn();
    assert.ok(await client.who());
    const confirm = await client.ask(`${house.provider.issuer}/session/end?client_id=${CLIENT_ID}`);
    assert.equal(confirm.status, 200, confirm.text);
    const xsrf = confirm.text.match(/name="xsrf" value="([^"]+)"/)[1];
    const done = await client.ask(`${house.provider.issuer}/session/end/confirm`, { method: "POST", body: { xsrf, logout: "yes" } });
    assert.ok([302, 303].includes(done.status), `${done.status} ${done.text}`);
    assert.equal(house.provider.logoutError, undefined);
    // The provider answers its user when it has told us.
    for (const deadline = Date.now() + 5_000; (await client.who()) !== null; ) {
      assert.ok(Date.now() < deadline, "the session lives on");
    }
  });
});
