// Everything on the pages by keyboard alone, in a sensible order and with a visible focus.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { addAccount, signIn } from "./accounts.mjs";
import { assertNoFaults, DEVICES, launch, openDevice } from "./browser.mjs";
import { recordSecret } from "./secrets.mjs";
import { startServer } from "./server.mjs";

let browser;
let server;

before(async () => {
  browser = await launch();
  server = await startServer();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** The accessible words of what has the focus. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label = element.labels?.[0]?.textContent ?? "";
    return (label || element.textContent).replaceAll(/\s+/g, " ").trim();
  });
}

/** Presses Tab until what has the focus reads as `name`; fails after a bounded walk. */
async function tabTo(page, name) {
  const seen = [];
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Tab");
    const here = await focused(page);
    seen.push(here);
    if (name.test(here)) {
      const outline = await page.evaluate(() => {
        const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2;
      });
      assert.ok(outline, `the focus on "${here}" is visible`);
      return;
    }
  }
  assert.fail(`Tab never came to ${name}; it went over ${JSON.stringify(seen)}`);
}

test("sign in, name a device, end one, end all others, sign out", async () => {
  const account = await addAccount(server);
  const phone = await openDevice(browser, server.origin, { userAgent: DEVICES.safariPhone.userAgent });
  const office = await openDevice(browser, server.origin, { userAgent: DEVICES.chromeWindows.userAgent });
  await signIn(phone, account);
  await signIn(office, account);

  const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const { page } = device;
  await page.goto("/signin?callbackUrl=/sessions");
  // The page begins in the first field.
  assert.equal(await focused(page), "Email");
  await page.keyboard.type(account.email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(account.password);
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === "/sessions");
  const cookies = await device.context.cookies();
  recordSecret(cookies.find((cookie) => cookie.name === "session").value);

  // The way past the bar is the first stop.
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "content");

  await tabTo(page, /^Details and name of Firefox on Linux$/);
  await page.keyboard.press("Enter");
  await tabTo(page, /^Your name for this device$/);
  await page.keyboard.type("Desk");
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "Name saved." }).waitFor();
  await page.getByRole("heading", { name: "Desk", exact: true }).waitFor();
  assert.match(await focused(page), /^Details and name/, "the focus is where the reader was");

  // Escape answers no.
  await tabTo(page, /^Sign out all other devices$/);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  assert.equal(await focused(page), "Cancel");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  assert.equal(await page.getByRole("listitem").count(), 3);
  assert.equal(await focused(page), "Sign out all other devices");

  await tabTo(page, /^Sign out Safari on iOS$/);
  await page.keyboard.press("Space");
  await page.getByRole("status").filter({ hasText: "Safari on iOS is signed out." }).waitFor();
  assert.match(await focused(page), /^Other devices/, "the focus goes on from the list");

  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Sign out all other devices");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Sign out all others");
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: "1 session ended." }).waitFor();
  await page.getByText("No other device is signed in.").waitFor();

  await page.reload();
  await tabTo(page, /^Sign out$/);
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.pathname === "/signin");
  for (const each of [device, phone, office]) {
    assertNoFaults(each);
    await each.context.close();
  }
});
