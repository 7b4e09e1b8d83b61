// More than one provider: GitHub, which has no ID tokens, and two of OpenID Connect, one of which is up to no good.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { errorOf } from "./client.mjs";
import { startGithub } from "./github.mjs";
import { somebody, startHouse } from "./house.mjs";
import { startProvider } from "./provider.mjs";

let house;
let github;
let mallory;

before(async () => {
  github = await startGithub();
  mallory = await startProvider({ id: "mallory" });
  house = await startHouse({ others: [github, mallory] });
});

after(async () => {
  await house?.close();
});

test("GitHub: a sign-in, and its number is the identity", async () => {
  const client = house.client();
  const answer = await client.signIn("github", { callbackUrl: "/sessions" });
  assert.equal(answer.location, `${house.hallpass.origin}/sessions`);
  assert.equal(await client.who(), "octocat@github.example");
  assert.deepEqual([github.asked.get("scope"), github.asked.get("code_challenge_method"), github.asked.get("nonce")], ["read:user user:email", "S256", null]);
  // Another login, another address, the same number.
  Object.assign(github, { user: { id: 583231, login: "renamed" }, emails: [] });
  const again = house.client();
  await again.signIn("github");
  assert.equal(await again.who(), "octocat@github.example");
  // The same login by somebody else is somebody else.
  Object.assign(github, { user: { id: 99, login: "octocat" }, emails: [{ email: "octocat@github.example", primary: true, verified: true }] });
  assert.equal(errorOf(await house.client().signIn("github")), "OAuthAccountNotLinked");
});

test("GitHub: an address that is not verified, a code that is not ours, a GitHub that is down", async () => {
  Object.assign(github, { user: { id: 100, login: "new" }, emails: [{ email: "new@github.example", primary: true, verified: false }] });
  assert.equal(errorOf(await house.client().signIn("github")), "OAuthCreateAccount");
  const client = house.client();
  const callback = new URL(await client.authorize(await client.begin("github")));
  callback.searchParams.set("code", "made-up");
  assert.equal(errorOf(await client.ask(callback)), "OAuthCallbackError");
  for (const path of ["/login/oauth/access_token", "/user", "/user/emails"]) {
    github.broken = [path];
    assert.equal((await house.client().signIn("github")).status, 503, path);
  }
  github.broken = [];
});

test("a mix-up: the answer of one provider is not taken for another's, and its code goes nowhere", async () => {
  const client = house.client();
  house.provider.user = somebody();
  const exchanged = () => [house.provider, mallory].map((each) => each.requests["/token"] ?? 0).join();
  const before = exchanged();
  // The user began with mallory's, which leads to the honest one; the code would go to mallory.
  const own = new URL(await client.begin("mallory"));
  const honest = new URL(await client.begin("corp"));
  const callback = new URL(await client.authorize(honest));
  const mixed = new URL(`${house.hallpass.origin}/api/auth/callback/mallory`);
  mixed.searchParams.set("code", callback.searchParams.get("code"));
  mixed.searchParams.set("state", own.searchParams.get("state"));
  mixed.searchParams.set("iss", house.provider.issuer);
  assert.equal(errorOf(await client.ask(mixed)), "OAuthCallbackError");
  // The state of one at the address of the other.
  callback.pathname = "/api/auth/callback/mallory";
  assert.equal(errorOf(await client.ask(callback)), "OAuthCallbackError");
  // Even if it says what the other would say, or nothing, as GitHub does.
  callback.searchParams.set("iss", mallory.issuer);
  assert.equal(errorOf(await client.ask(await again(callback))), "OAuthCallbackError");
  callback.pathname = "/api/auth/callback/github";
  callback.searchParams.delete("iss");
  github.presented = [];
  assert.equal(errorOf(await client.ask(await again(callback))), "OAuthCallbackError");
  assert.deepEqual(github.presented, []);
  assert.equal(exchanged(), before, "no code was sent anywhere");
  assert.equal(client.token, undefined);

  /** The same answer to a sign-in with the honest provider that was not used yet. */
  async function again(answer) {
    const fresh = new URL(await client.authorize(await client.begin("corp")));
    const changed = new URL(answer);
    for (const name of ["code", "state"]) changed.searchParams.set(name, fresh.searchParams.get(name));
    return changed;
  }
});

test("the same subject of two issuers is two people", async () => {
  const one = somebody();
  house.provider.user = one;
  const client = house.client();
  await client.signIn("corp");
  mallory.user = { ...one, email: "mallory@example.org" };
  assert.equal(errorOf(await house.client().signIn("mallory")), "OAuthAccountNotLinked");
});

test("a provider that does not exist is none", async () => {
  const client = house.client();
  const answer = await client.ask("/api/auth/callback/nobody?code=x&state=y");
  assert.deepEqual([answer.status, errorOf(answer)], [302, "Configuration"]);
  const address = await client.begin("nobody");
  assert.equal(new URL(address).searchParams.get("error"), "Configuration");
});
