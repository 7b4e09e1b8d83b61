// An account that a first sign-in made has one way in, and keeps it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startHouse } from "./house.mjs";

test("the last way in cannot be unlinked", async () => {
  const house = await startHouse();
  try {
    const client = house.client();
    await client.signIn();
    const { issuer, user } = house.provider;
    const answer = await client.post("/linked-accounts", { action: "unlink", issuer, subject: user.sub }, { "sec-fetch-mode": "navigate" });
    assert.equal(new URL(answer.location).searchParams.get("result"), "last-way-in");
    const again = house.client();
    await again.signIn();
    assert.equal(await again.who(), user.email);
  } finally {
    await house.close();
  }
});
