// Linked accounts: only by an explicit act of somebody who has just signed in.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { errorOf } from "./client.mjs";
import { somebody, startHouse } from "./house.mjs";
import { counted, METRICS_SECRET } from "./metrics.mjs";
import { sign } from "./provider.mjs";

let house;
/** A page navigation, as browsers mark it. */
const NAVIGATION = { "sec-fetch-mode": "navigate", "sec-fetch-site": "same-origin" };

before(async () => {
  house = await startHouse({ signUp: false, settings: { HALLPASS_METRICS_SECRET: METRICS_SECRET } });
});

after(async () => {
  await house?.close();
});

beforeEach(() => {
  house.provider.calm();
  house.provider.user = somebody();
});

async function signedIn() {
  const account = await house.account();
  const client = house.client();
  await client.signInWithPassword(account);
  assert.equal(await client.who(), account.email);
  return { account, client };
}

/** Asks to link; the provider's address out of the page that goes there. */
async function beginLinking(client) {
  const answer = await client.post("/linked-accounts", { action: "link", provider: "corp" }, NAVIGATION);
  const address = answer.text.match(/http-equiv="refresh" content="0; url=([^"]+)"/)?.[1];
  return { answer, address: address?.replaceAll("&#38;", "&").replaceAll("&amp;", "&") };
}

async function link(client) {
  const { address } = await beginLinking(client);
  return client.ask(await client.authorize(address));
}

const resultOf = (answer) => new URL(answer.location).searchParams.get("result");

test("an unknown identity signs nobody in where nobody may sign up", async () => {
  const client = house.client();
  assert.equal(errorOf(await client.signIn()), "OAuthAccountNotLinked");
  assert.equal(client.token, undefined);
});

test("linking, signing in with it, unlinking", async () => {
  const { account, client } = await signedIn();
  const linked = () => counted(house.hallpass, "provider_sign_ins", "corp", "linked");
  const before = await linked();
  const answer = await link(client);
  assert.equal(resultOf(answer), "linked");
  assert.equal(await linked(), before + 1);
  const page = await client.ask(answer.location);
  assert.match(page.text, /Corp &#38; Sons|Corp &amp; Sons/);
  assert.ok(page.text.includes(house.provider.user.email));

  const other = house.client();
  await other.signIn();
  assert.equal(await other.who(), account.email);
  assert.equal((await client.sessions()).length, 2);

  const unlinked = await client.post("/linked-accounts", { action: "unlink", issuer: house.provider.issuer, subject: house.provider.user.sub }, NAVIGATION);
  assert.equal(resultOf(unlinked), "unlinked");
  assert.equal(await other.who(), null, "what was begun with it ends");
  assert.equal(await client.who(), account.email);
  assert.equal(errorOf(await house.client().signIn()), "OAuthAccountNotLinked");
});

test("a11 linking and unlinking need a fresh session", async () => {
  const { client } = await signedIn();
  await link(client);
  // A session as old as the provider's.
  const old = Math.floor(Date.now() / 1000) - 3600;
  house.provider.idToken = (all) => sign({ ...all, auth_time: old }, { key: house.provider.key });
  const stale = house.client();
  await stale.signIn();
  assert.ok(await stale.who());
  house.provider.user = somebody();
  const refused = await beginLinking(stale);
  assert.equal(refused.answer.status, 303);
  assert.equal(refused.answer.location, `${house.hallpass.origin}/signin?prompt=login&callbackUrl=/linked-accounts`);
  assert.deepEqual(stale.underWay(), []);
  const [{ id }] = await stale.sessions();
  assert.ok(id);
  const unlink = await stale.post("/linked-accounts", { action: "unlink", issuer: "x", subject: "y" }, NAVIGATION);
  assert.equal(unlink.status, 303);
  assert.ok(unlink.location.includes("prompt=login"));
  // The page there offers to confirm with the provider.
  const page = await stale.ask(refused.answer.location, { headers: NAVIGATION });
  assert.match(page.text, /action="\/api\/auth\/signin\/corp\?prompt=login(&#38;|&amp;)max_age=0"/);
  assert.match(page.text, /Confirm with/);
});

test("linking belongs to the session that asked for it", async () => {
  const { client } = await signedIn();
  const { address } = await beginLinking(client);
  const callback = await client.authorize(address);
  // Somebody else has signed in meanwhile.
  const other = await house.account();
  await client.signInWithPassword(other);
  const answer = await client.ask(callback);
  assert.equal(errorOf(answer), "SessionRequired");
  // Signed out meanwhile.
  const second = await signedIn();
  const begun = await beginLinking(second.client);
  const back = await second.client.authorize(begun.address);
  await second.client.post("/api/auth/signout");
  assert.equal(errorOf(await second.client.ask(back)), "SessionRequired");
  assert.equal(errorOf(await house.client().signIn()), "OAuthAccountNotLinked", "nothing was linked");
});

test("a callback of somebody else's linking links nothing (login CSRF)", async () => {
  const attacker = await signedIn();
  const { address } = await beginLinking(attacker.client);
  const callback = await attacker.client.authorize(address);
  const victim = await signedIn();
  assert.equal(errorOf(await victim.client.ask(callback)), "OAuthCallbackError");
  assert.equal(errorOf(await house.client().signIn()), "OAuthAccountNotLinked");
});

test("an identity of another account stays there", async () => {
  const first = await signedIn();
  await link(first.client);
  const second = await signedIn();
  const before = await counted(house.hallpass, "provider_sign_ins", "corp", "not_linked");
  assert.equal(resultOf(await link(second.client)), "of-another");
  assert.equal(await counted(house.hallpass, "provider_sign_ins", "corp", "not_linked"), before + 1);
  const client = house.client();
  await client.signIn();
  assert.equal(await client.who(), first.account.email);
});

test("linking needs the page's token, and is refused to other origins", async () => {
  const { client } = await signedIn();
  const body = { action: "link", provider: "corp", csrfToken: "x" };
  const answer = await client.ask("/linked-accounts", { method: "POST", headers: { origin: house.hallpass.origin, ...NAVIGATION }, body });
  assert.equal(resultOf(answer), "expired");
  const foreign = await client.post("/linked-accounts", body, { origin: "https://evil.example" });
  assert.equal(foreign.status, 403);
  assert.deepEqual(client.underWay(), []);
  const nobody = await house.client().post("/linked-accounts", body);
  assert.equal(nobody.status, 401);
});
