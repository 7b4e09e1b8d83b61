// Providers that cannot be asked, or say something else than the settings do.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { startServer } from "../browser/server.mjs";
import { Client } from "./client.mjs";
import { startHouse } from "./house.mjs";
import { startProvider } from "./provider.mjs";

let closing = [];

afterEach(async () => {
  for (const each of closing) await each.close();
  closing = [];
});

/** Tries until somebody is signed in: a failure is remembered for a second, for those who ask at once. */
async function signsInAgain(house) {
  for (const deadline = Date.now() + 8_000; ; ) {
    const client = house.client();
    const { status, json } = await client.post("/api/auth/signin/corp", {}, { "x-auth-return-redirect": "1" });
    if (status === 200 && (await client.ask(await client.authorize(json.url))).status === 302) return;
    assert.ok(Date.now() < deadline, "it is back, and nobody noticed");
  }
}

test("a provider that is down at the start is asked again, and the sign-in page stays", async () => {
  const house = await startHouse();
  closing.push(house);
  house.provider.down = ["/.well-known/openid-configuration"];
  const client = house.client();
  const answer = await client.post("/api/auth/signin/corp", {}, { "x-auth-return-redirect": "1" });
  assert.equal(answer.status, 503);
  assert.equal(answer.json.url, `${house.hallpass.origin}/signin?error=ProviderUnavailable`);
  assert.equal(answer.headers["retry-after"], "5");
  const page = await client.post("/api/auth/signin/corp", { callbackUrl: "/sessions" }, { "sec-fetch-mode": "navigate" });
  assert.equal(page.status, 503);
  assert.match(page.text, /cannot be reached at the moment/);
  assert.match(page.text, /Continue with/);
  const doctor = await house.hallpass.run(["doctor"]);
  assert.equal(doctor.code, 1);
  assert.match(doctor.stdout, /failed\s+provider: corp: the provider is unavailable/);
  house.provider.down = [];
  const mended = await house.hallpass.run(["doctor"]);
  assert.match(mended.stdout, /provider: corp: http:\/\/localhost:\d+ answers, with 1 signing keys; it can send back-channel logouts/);
  assert.equal(mended.code, 0, mended.stdout);
  await signsInAgain(house);
  // What was read serves on while the provider is down.
  house.provider.down = ["/.well-known/openid-configuration", "/jwks"];
  await signsInAgain(house);
});

test("a provider whose keys cannot be had signs nobody in", async () => {
  const house = await startHouse();
  closing.push(house);
  house.provider.down = ["/jwks"];
  const client = house.client();
  assert.equal((await client.signIn()).status, 503);
  assert.equal(client.token, undefined);
  house.provider.down = [];
  await signsInAgain(house);
});

test("a browser that posts a form gets a page that goes on, since its policy for forms would stop a redirect", async () => {
  const house = await startHouse();
  closing.push(house);
  const client = house.client();
  const page = await client.post("/api/auth/signin/corp", { callbackUrl: "/sessions" }, { "sec-fetch-mode": "navigate" });
  assert.deepEqual([page.status, page.location], [200, undefined]);
  const address = page.text.match(/http-equiv="refresh" content="0; url=([^"]+)"/)[1].replaceAll(/&#38;|&amp;/g, "&");
  assert.ok(address.startsWith(`${house.provider.issuer}/auth?`));
  const other = await client.post("/api/auth/signin/corp");
  assert.equal(other.status, 302);
  assert.ok(other.location.startsWith(`${house.provider.issuer}/auth?`));
});

test("a provider that names itself otherwise is not believed", async () => {
  const house = await startHouse();
  closing.push(house);
  house.provider.metadata = { issuer: "https://accounts.example" };
  const client = house.client();
  const answer = await client.post("/api/auth/signin/corp", {}, { "x-auth-return-redirect": "1" });
  assert.equal(answer.json.url, `${house.hallpass.origin}/signin?error=Configuration`);
  assert.deepEqual(client.underWay(), []);
  const { code, stdout } = await house.hallpass.run(["doctor"]);
  assert.equal(code, 1);
  assert.match(stdout, /failed\s+provider: corp: .*names itself "https:\/\/accounts\.example"/);
});

test("an endpoint that is not https is not used", async () => {
  const house = await startHouse();
  closing.push(house);
  house.provider.metadata = { token_endpoint: "http://accounts.example/token" };
  const answer = await house.client().post("/api/auth/signin/corp", {}, { "x-auth-return-redirect": "1" });
  assert.equal(answer.json.url, `${house.hallpass.origin}/signin?error=Configuration`);
});

test("a wrong client secret is the operator's to mend", async () => {
  const provider = await startProvider();
  const hallpass = await startServer({ ...provider.settings, HALLPASS_PROVIDERS_CORP_CLIENT_SECRET: "another secret" });
  closing.push(hallpass, provider);
  provider.register(hallpass.origin);
  const client = new Client(hallpass);
  const answer = await client.signIn();
  assert.equal(new URL(answer.location).searchParams.get("error"), "Configuration");
  assert.match(hallpass.log(), /check client_id and client_secret/);
  assert.ok(!hallpass.log().includes("another secret"));
});
