// Back-channel logout with two servers, and with a session database that is away.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { startServer } from "../browser/server.mjs";
import { startHouse } from "./house.mjs";
import { counted, METRICS_SECRET } from "./metrics.mjs";
import { CLIENT_ID, decode, sign } from "./provider.mjs";

const seconds = () => Math.floor(Date.now() / 1000);

function logoutToken(provider, more) {
  const claims = { iss: provider.issuer, aud: CLIENT_ID, iat: seconds(), exp: seconds() + 120, jti: randomUUID(), events: { "http://schemas.openid.net/event/backchannel-logout": {} }, ...more };
  return sign(claims, { key: provider.key, header: { typ: "logout+jwt" } });
}

async function post(hallpass, token) {
  const response = await fetch(`${hallpass.origin}/api/auth/backchannel-logout/corp`, {
    method: "POST",
    body: new URLSearchParams({ logout_token: token }),
    signal: AbortSignal.timeout(15_000),
  });
  await response.text();
  return response.status;
}

async function signedIn(house) {
  let claims;
  house.provider.idToken = (all, header, body) => {
    claims = all;
    return body.id_token;
  };
  const client = house.client();
  await client.signIn();
  assert.ok(await client.who());
  return { client, claims };
}

test("two servers: a logout at one ends the session at the other, and its token is used at both", async () => {
  const house = await startHouse();
  const other = await startServer({
    ...house.provider.settings,
    HALLPASS_DATABASE_URL: `sqlite:${join(house.hallpass.directory, "hallpass.db")}`,
    HALLPASS_PUBLIC_URL: house.hallpass.origin,
  });
  try {
    const { client, claims } = await signedIn(house);
    const token = await logoutToken(house.provider, { sid: claims.sid });
    assert.equal(await post(other, token), 200);
    assert.equal(await client.who(), null);
    assert.equal(await post(house.hallpass, token), 400, "a replay");
    // Both at once: one of the two is the first, and neither fails.
    const again = await logoutToken(house.provider, { sub: "nobody" });
    const statuses = await Promise.all([post(other, again), post(house.hallpass, again)]);
    assert.ok(statuses.every((status) => [200, 400].includes(status)) && statuses.includes(200), `${statuses}`);
  } finally {
    await other.close();
    await house.close();
  }
});

test("a session database that is away is 503, never 200, and the provider's next try ends the session", async () => {
  const settings = { HALLPASS_ACCOUNTS_URL: "sqlite:accounts.db", HALLPASS_SWEEP_INTERVAL: "1h", HALLPASS_METRICS_SECRET: METRICS_SECRET };
  const house = await startHouse({ settings });
  const file = join(house.hallpass.directory, "hallpass.db");
  try {
    const { client, claims } = await signedIn(house);
    const token = await logoutToken(house.provider, { sid: claims.sid });
    renameSync(file, `${file}.away`);
    assert.equal(await post(house.hallpass, token), 503);
    renameSync(`${file}.away`, file);
    assert.equal(await post(house.hallpass, token), 200, "not a replay: it was not done");
    assert.equal(await client.who(), null);
    assert.equal(await post(house.hallpass, token), 400);
    const count = (outcome) => counted(house.hallpass, "backchannel_logouts", "corp", outcome);
    // What was answered 503 may have ended the session already.
    const counts = [await count("undecided"), (await count("ended")) + (await count("nothing_to_end")), await count("refused")];
    assert.deepEqual(counts, [1, 1, 1]);
  } finally {
    await house.close();
  }
});

test("what a failure left behind is finished by the server itself", async () => {
  const house = await startHouse({ settings: { HALLPASS_ACCOUNTS_URL: "sqlite:accounts.db", HALLPASS_SWEEP_INTERVAL: "1s" } });
  const file = join(house.hallpass.directory, "hallpass.db");
  try {
    const { client, claims } = await signedIn(house);
    const token = await logoutToken(house.provider, { sid: claims.sid });
    renameSync(file, `${file}.away`);
    assert.equal(await post(house.hallpass, token), 503);
    renameSync(`${file}.away`, file);
    for (const deadline = Date.now() + 15_000; ; await pause(100)) {
      const answer = await client.ask("/api/auth/session");
      if (answer.status === 200 && answer.json === null) break;
      assert.ok(Date.now() < deadline, "the session lives on");
    }
  } finally {
    await house.close();
  }
});
