// The sign-in page and the linked accounts in a real Chromium, with the provider on another site, with scripts and without.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { signIn, tokenOf } from "../browser/accounts.mjs";
import { assertAccessible, launch, openDevice } from "../browser/browser.mjs";
import { recordSecret } from "../browser/secrets.mjs";
import { somebody, startHouse } from "./house.mjs";

let browser;
let house;

before(async () => {
  browser = await launch();
  house = await startHouse();
});

after(async () => {
  await browser?.close();
  await house?.close();
});

for (const javaScriptEnabled of [true, false]) {
  test(`a person signs in with a provider ${javaScriptEnabled ? "with" : "without"} scripts`, async () => {
    house.provider.user = somebody();
    const device = await openDevice(browser, house.hallpass.origin, { javaScriptEnabled });
    const { page } = device;
    await page.goto("/signin?callbackUrl=/sessions");
    if (javaScriptEnabled) await assertAccessible(page, "the sign-in page");
    await page.getByRole("button", { name: "Continue with Corp & Sons" }).click();
    await page.waitForURL("**/sessions");
    const token = await tokenOf(device);
    assert.ok(token);
    recordSecret(token);
    await page.goto("/");
    await page.getByText(house.provider.user.email).first().waitFor();
    await device.context.close();
  });
}

test("a person links a provider and unlinks it", async () => {
  house.provider.user = somebody();
  const account = await house.account();
  const device = await openDevice(browser, house.hallpass.origin);
  await signIn(device, account, { to: "/linked-accounts" });
  const { page } = device;
  await assertAccessible(page, "linked accounts");
  await page.getByRole("button", { name: "Link Corp & Sons" }).click();
  await page.getByRole("status").filter({ hasText: "From now on you can sign in with it" }).waitFor();
  await page.getByText(house.provider.user.email).waitFor();
  await assertAccessible(page, "linked accounts");
  await page.getByRole("button", { name: "Unlink" }).click();
  await page.getByRole("status").filter({ hasText: "does not sign in to your account any more" }).waitFor();
  await device.context.close();
});
