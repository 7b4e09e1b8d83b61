// A plain OAuth 2 server, which describes its users and has no ID tokens.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startServer } from "../browser/server.mjs";
import { Client, errorOf } from "./client.mjs";
import { somebody } from "./house.mjs";
import { counted, METRICS_SECRET } from "./metrics.mjs";
import { startOAuth2 } from "./oauth2.mjs";

let plain;
let hallpass;

before(async () => {
  plain = await startOAuth2();
  hallpass = await startServer({ ...plain.settings, HALLPASS_METRICS_SECRET: METRICS_SECRET });
});

after(async () => {
  await hallpass?.close();
  await plain?.close();
});

beforeEach(() => Object.assign(plain, { user: somebody(), answers: {}, exchanges: [] }));

const signIn = async (options) => {
  const client = new Client(hallpass);
  return { client, answer: await client.signIn("plain", options) };
};

test("a sign-in makes an account, and the subject finds it again", async () => {
  const { client, answer } = await signIn({ callbackUrl: "/sessions" });
  assert.deepEqual([answer.status, answer.location], [302, `${hallpass.origin}/sessions`]);
  assert.equal(await client.who(), plain.user.email);
  assert.deepEqual(
    [plain.asked.response_type, plain.asked.scope, plain.asked.code_challenge_method, plain.asked.nonce, plain.asked.redirect_uri],
    ["code", "profile email", "S256", undefined, `${hallpass.origin}/api/auth/callback/plain`],
  );
  const { email } = plain.user;
  // Another address does not make another account, and takes no other over.
  plain.user = { ...plain.user, email: "moved@example.org", name: "Renamed" };
  assert.equal(await (await signIn()).client.who(), email);
});

test("a server without `sub` is known by its `id`, a number or a text", async () => {
  for (const id of [7_310, "u-7310"]) {
    const { email, name } = somebody();
    plain.user = { id, email, email_verified: true, login: name };
    assert.equal(await (await signIn()).client.who(), email);
    plain.user = { id };
    assert.equal(await (await signIn()).client.who(), email);
  }
});

test("an address that the server does not vouch for makes no account", async () => {
  for (const email_verified of [undefined, false, "false", 1, null]) {
    plain.user = { ...somebody(), email_verified };
    const { client, answer } = await signIn();
    assert.equal(errorOf(answer), "OAuthCreateAccount", `${email_verified}`);
    assert.equal(client.token, undefined);
  }
});

test("a description without a usable subject signs nobody in", async () => {
  for (const sub of [undefined, "", null, true, {}, "x".repeat(256), "a\u0000b"]) {
    plain.user = { ...somebody(), sub };
    const { client, answer } = await signIn();
    assert.equal(errorOf(answer), "OAuthCallbackError", `${sub}`);
    assert.equal(client.token, undefined);
  }
});

test("a code of somebody else's, or used before, is refused", async () => {
  const client = new Client(hallpass);
  const callback = new URL(await client.authorize(await client.begin("plain")));
  const stranger = new Client(hallpass);
  const theirs = new URL(await stranger.authorize(await stranger.begin("plain")));
  theirs.searchParams.set("code", callback.searchParams.get("code"));
  assert.equal(errorOf(await stranger.ask(theirs)), "OAuthCallbackError");
  assert.equal(errorOf(await client.ask(callback)), "OAuthCallbackError", "its code is used up");
  assert.deepEqual([client.token, stranger.token], [undefined, undefined]);
});

test("a server that fails is 503, one that does not know this client is misconfigured, and each is counted", async () => {
  const outcomes = ["unavailable", "misconfigured", "signed_in"];
  const now = () => Promise.all(outcomes.map((outcome) => counted(hallpass, "provider_sign_ins", "plain", outcome)));
  const before = await now();
  for (const path of ["/token", "/userinfo"]) {
    plain.answers = { [path]: [500, {}] };
    assert.equal((await signIn()).answer.status, 503, path);
  }
  plain.answers = { "/token": [401, { error: "invalid_client" }] };
  assert.equal(errorOf((await signIn()).answer), "Configuration");
  plain.answers = {};
  await signIn();
  const after = await now();
  assert.deepEqual(after.map((value, n) => value - before[n]), [2, 1, 1]);
});

test("its session is one like every other, and signing out leads nowhere else", async () => {
  const { client } = await signIn();
  const [session] = await client.sessions();
  assert.ok(session.isCurrent);
  assert.equal(await client.signOut("/x"), `${hallpass.origin}/x`);
  assert.equal(await client.who(), null);
});

test("it has no place to sign out, so the setting is refused at the start", async () => {
  const started = startServer({ ...plain.settings, HALLPASS_PROVIDERS_PLAIN_LOGOUT_AT_PROVIDER: "true" });
  await assert.rejects(started, /providers\.plain\.logout_at_provider.*a provider of the kind oauth2 has no place to sign out/s);
});
