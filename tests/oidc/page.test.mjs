// The sign-in page, the linked accounts and signing out in a real Chromium, with the provider on another site, with scripts and without.

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
  house = await startHouse({ settings: { HALLPASS_PROVIDERS_CORP_LOGOUT_AT_PROVIDER: "true" } });
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
    const button = page.getByRole("button", { name: "Continue with Corp & Sons" });
    // As it is seen: parts of a flex container stand apart, and lose the blank between them.
    assert.equal(await button.innerText(), "Continue with Corp & Sons");
    await button.click();
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
  assert.equal(await page.getByRole("button", { name: "Link Corp & Sons" }).innerText(), "Link Corp & Sons");
  await page.getByRole("button", { name: "Link Corp & Sons" }).click();
  await page.getByRole("status").filter({ hasText: "From now on you can sign in with it" }).waitFor();
  await page.getByText(house.provider.user.email).waitFor();
  await assertAccessible(page, "linked accounts");
  await page.getByRole("button", { name: "Unlink" }).click();
  await page.getByRole("status").filter({ hasText: "does not sign in to your account any more" }).waitFor();
  await device.context.close();
});

for (const javaScriptEnabled of [true, false]) {
  test(`a person signs out here and at the provider ${javaScriptEnabled ? "with" : "without"} scripts`, async () => {
    house.provider.user = somebody();
    const device = await openDevice(browser, house.hallpass.origin, { javaScriptEnabled });
    const { page } = device;
    const enter = async () => {
      await page.goto("/signin?callbackUrl=/sessions");
      await page.getByRole("button", { name: "Continue with Corp & Sons" }).click();
      await page.waitForURL("**/sessions");
      recordSecret(await tokenOf(device));
    };
    await enter();
    const asked = house.provider.interactions;
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(`${house.provider.issuer}/session/end?**`);
    assert.equal(await tokenOf(device), undefined, "signed out here before the provider is asked");
    await page.getByRole("button", { name: "Yes, sign me out" }).click();
    await page.waitForURL(`${house.hallpass.origin}/signin`);
    assert.equal(house.provider.logoutError, undefined);
    await enter();
    assert.ok(house.provider.interactions > asked, "the provider asks who it is");
    await device.context.close();
  });
}

test("a person whose provider has no place to sign out is told that the session there may be open", async () => {
  const house = await startHouse({ settings: { HALLPASS_PROVIDERS_CORP_LOGOUT_AT_PROVIDER: "true" } });
  try {
    house.provider.metadata = { end_session_endpoint: undefined };
    const device = await openDevice(browser, house.hallpass.origin);
    const { page } = device;
    await page.goto("/signin?callbackUrl=/");
    await page.getByRole("button", { name: "Continue with Corp & Sons" }).click();
    await page.waitForURL(`${house.hallpass.origin}/`);
    recordSecret(await tokenOf(device));
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "You have signed out here" }).waitFor();
    await page.getByText("You may still be signed in there").waitFor();
    await assertAccessible(page, "signed out here alone");
    await page.getByRole("link", { name: "Continue" }).click();
    await page.waitForURL("**/signin");
    await device.context.close();
  } finally {
    await house.close();
  }
});
