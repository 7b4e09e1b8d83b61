// Signing out while the provider cannot be asked: the session here ends all the same, and the user learns what may still be open.

import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { startServer } from "../browser/server.mjs";
import { Client } from "./client.mjs";
import { somebody, startHouse } from "./house.mjs";
import { counted, METRICS_SECRET } from "./metrics.mjs";
import { startProvider } from "./provider.mjs";

const ON = { HALLPASS_PROVIDERS_CORP_LOGOUT_AT_PROVIDER: "true", HALLPASS_METRICS_SECRET: METRICS_SECRET };
const DISCOVERY = "/.well-known/openid-configuration";
let closing = [];

afterEach(async () => {
  for (const each of closing.reverse()) await each.close();
  closing = [];
});

async function start(options = {}) {
  const house = await startHouse({ ...options, settings: { ...ON, ...options.settings } });
  closing.push(house);
  return house;
}

async function signedIn(house) {
  house.provider.user = somebody();
  const client = house.client();
  await client.signIn();
  assert.ok(await client.who());
  return client;
}

/** Another server on the database of `house`, which has asked its provider nothing yet; `client` goes on there. */
async function elsewhere(house, client, settings = {}) {
  const server = await startServer({
    ...house.provider.settings,
    ...ON,
    HALLPASS_DATABASE_URL: `sqlite:${join(house.hallpass.directory, "hallpass.db")}`,
    HALLPASS_PUBLIC_URL: house.hallpass.origin,
    ...settings,
  });
  closing.push(server);
  const there = new Client(server);
  for (const [name, value] of client.jar()) there.jar().set(name, value);
  return { server, there };
}

/** The browser is told that it may still be signed in at the provider, and where to go on. */
async function assertMayBeOpen(client, address, house, target) {
  const { origin } = house.hallpass;
  assert.ok(address.startsWith(`${origin}/api/auth/signed-out?state=`), address);
  const page = await client.ask(new URL(address).pathname + new URL(address).search);
  assert.equal(page.status, 200);
  assert.match(page.text, /You have signed out here/);
  assert.match(page.text, /Corp &#38; Sons<\/bdi> could not be asked to sign you out, too\. You may still be signed in there/);
  assert.ok(page.text.includes(`href="${origin}${target}"`), page.text);
  assert.deepEqual(client.leaving(), []);
  assert.equal(client.token, undefined);
}

async function assertEnded(house, token) {
  const thief = house.client();
  thief.jar().set("session", token);
  assert.equal((await thief.ask("/api/sessions")).status, 401);
}

test("a provider that is down, or does not answer", async () => {
  const house = await start();
  for (const [how, path] of [["down", "signout"], ["hang", "signout"], ["down", "form"], ["hang", "form"]]) {
    const client = await signedIn(house);
    const { token } = client;
    const { server, there } = await elsewhere(house, client);
    house.provider[how] = [DISCOVERY];
    const headers = { origin: house.hallpass.origin };
    const begun = Date.now();
    let address;
    if (path === "signout") address = await there.signOut("/x", headers);
    else address = (await there.post("/sessions/sign-out", {}, { ...headers, "sec-fetch-mode": "navigate" })).location;
    assert.ok(Date.now() - begun < 5_000, `${how} ${path}: ${Date.now() - begun} ms`);
    await assertEnded(house, token);
    await assertMayBeOpen(there, address, house, path === "signout" ? "/x" : "/signin");
    assert.equal(await counted(server, "rp_initiated_logouts", "corp", "unavailable"), 1);
    assert.equal(await counted(server, "rp_initiated_logouts", "corp", "returned"), 0);
    house.provider[how] = [];
  }
});

test("what a provider said of itself serves while it is down", async () => {
  const house = await start();
  const client = await signedIn(house);
  house.provider.down = [DISCOVERY, "/jwks"];
  assert.ok((await client.signOut()).startsWith(`${house.provider.issuer}/session/end?`));
});

test("a provider without a place to sign out", async () => {
  const house = await start();
  house.provider.metadata = { end_session_endpoint: undefined };
  const client = await signedIn(house);
  const { token } = client;
  const address = await client.signOut("/x");
  await assertEnded(house, token);
  await assertMayBeOpen(client, address, house, "/x");
  assert.equal(await counted(house.hallpass, "rp_initiated_logouts", "corp", "unsupported"), 1);
  const { code, stdout } = await house.hallpass.run(["doctor"]);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /warning\s+provider: corp: it names no end_session_endpoint, so signing out ends the session here alone\n\s+fix: take logout_at_provider out/);
});

test("a place to sign out that is no https address is not used, and keeps nobody from signing in", async () => {
  const house = await start();
  for (const bad of ["http://accounts.example/logout", "ftp://localhost/x", "/session/end", "", "https://id.example/x#y"]) {
    house.provider.metadata = { end_session_endpoint: bad };
    const client = await signedIn(house);
    const { there } = await elsewhere(house, client);
    await assertMayBeOpen(there, await there.signOut("/x", { origin: house.hallpass.origin }), house, "/x");
    const { code, stdout } = await house.hallpass.run(["doctor"]);
    assert.equal(code, 1, stdout);
    assert.match(stdout, /failed\s+provider: corp: .*its end_session_endpoint .* is no https address/);
  }
});

test("doctor names the place to sign out and the address to register; with the setting off neither", async () => {
  const house = await start();
  const line = new RegExp(
    `ok\\s+provider: corp: signing out leads to ${house.provider.issuer}/session/end; register the post-logout redirect URI ${house.hallpass.origin}/api/auth/signed-out\n`,
  );
  const on = await house.hallpass.run(["doctor"]);
  assert.match(on.stdout, line);
  house.provider.down = [DISCOVERY];
  const down = await house.hallpass.run(["doctor"]);
  assert.equal(down.stdout.match(/provider: corp/g).length, 1, down.stdout);
  const off = await startHouse();
  closing.push(off);
  assert.doesNotMatch((await off.hallpass.run(["doctor"])).stdout, /sign(ing|ed).out/);
});

test("with the setting off signing out is as it was", async () => {
  const house = await startHouse();
  closing.push(house);
  const { origin } = house.hallpass;
  const client = await signedIn(house);
  assert.equal(await client.signOut("/x"), `${origin}/x`);
  await client.signIn();
  const form = await client.post("/sessions/sign-out", {}, { "sec-fetch-mode": "navigate" });
  assert.deepEqual([form.status, form.headers.location], [303, "/signin"]);
  assert.deepEqual(client.leaving(), []);
  assert.equal((await client.ask("/api/auth/signed-out?state=x")).status, 400);
});

test("an endpoint with a query of its own keeps it", async () => {
  const house = await start();
  house.provider.metadata = { end_session_endpoint: `${house.provider.issuer}/session/end?tenant=7` };
  const client = await signedIn(house);
  const address = new URL(await client.signOut());
  assert.deepEqual([...address.searchParams.keys()], ["tenant", "client_id", "logout_hint", "post_logout_redirect_uri", "state"]);
});

test("another provider by the same id is not told of a session that is not its own", async () => {
  const house = await start();
  const successor = await startProvider();
  closing.push(successor);
  successor.register(house.hallpass.origin);
  const client = await signedIn(house);
  const { there } = await elsewhere(house, client, successor.settings);
  assert.equal(await there.signOut("/x", { origin: house.hallpass.origin }), `${house.hallpass.origin}/x`);
  assert.equal(there.token, undefined);
});

test("sessions that are away: nobody knows whether it has ended, and nobody is sent anywhere", async () => {
  const house = await start({ settings: { HALLPASS_ACCOUNTS_URL: "sqlite:accounts.db" } });
  const client = await signedIn(house);
  const csrfToken = await client.csrf();
  const file = join(house.hallpass.directory, "hallpass.db");
  renameSync(file, `${file}.away`);
  for (const path of ["/api/auth/signout", "/sessions/sign-out"]) {
    const answer = await client.ask(path, { method: "POST", headers: { origin: house.hallpass.origin }, body: { csrfToken } });
    assert.deepEqual([answer.status, answer.location], [503, undefined], path);
  }
  assert.deepEqual(client.leaving(), []);
  assert.ok(client.token, "it may live on, and the user can try again");
  renameSync(`${file}.away`, file);
});

test("a target that would not fit in the cookie becomes the start page, and what is to be said is said", async () => {
  const house = await start();
  house.provider.metadata = { end_session_endpoint: undefined };
  const client = await signedIn(house);
  const held = () => client.leaving().map((name) => `${name}=${client.jar().get(name)}`);
  // Within the limit for targets as it is sent, and three times as long as it is kept.
  const address = await client.signOut(`/${"ä".repeat(1_000)}`);
  assert.ok(held()[0].length < 4_096, `${held()[0].length}`);
  await assertMayBeOpen(client, address, house, "/");
  await client.signIn();
  const fits = `/${"x".repeat(1_900)}`;
  const there = await client.signOut(fits);
  assert.ok(held()[0].length < 4_096, `${held()[0].length}`);
  await assertMayBeOpen(client, there, house, fits);
});
