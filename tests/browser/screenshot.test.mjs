// The picture of the README: real sessions of a real server, taken at a fixed size. Written to docs/images when it is missing
// there or when UPDATE_SCREENSHOTS is set (fonts differ between machines, so a plain run leaves the committed one alone).

import assert from "node:assert/strict";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { addAccount, signIn } from "./accounts.mjs";
import { assertNoFaults, DEVICES, launch, openDevice } from "./browser.mjs";
import { startServer } from "./server.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const IMAGES = join(HERE, "../../docs/images");
const RESULTS = join(HERE, "results");

// In the order of their sign-ins. The addresses are those kept for documentation (RFC 5737, RFC 3849); `seen` and `began` are
// how many minutes ago the picture says that each was seen and signed in.
const HOUSE = [
  { ...DEVICES.chromeWindows, label: "", address: "198.51.100.23", seen: 3 * 1440, began: 24 * 1440 },
  { userAgent: "curl/8.14.1", label: "Backup job", address: "198.51.100.80", seen: 5 * 60, began: 41 * 1440 },
  { ...DEVICES.safariPhone, label: "Ada’s phone", address: "2001:db8::7334", seen: 38, began: 9 * 1440 },
  { ...DEVICES.firefoxLinux, label: "", address: "203.0.113.7", seen: 0, began: 2 * 1440 },
];

let browser;
let server;

before(async () => {
  browser = await launch();
  server = await startServer({ HALLPASS_TRUSTED_PROXIES: "127.0.0.1/32" });
});

after(async () => {
  await browser?.close();
  await server?.close();
});

test("the session manager in light and dark", async () => {
  const account = await addAccount(server);
  let device;
  for (const { userAgent, label, address } of HOUSE) {
    device = await openDevice(browser, server.origin, {
      userAgent,
      extraHTTPHeaders: { "x-forwarded-for": address },
      reducedMotion: "reduce",
    });
    await signIn(device, account);
    if (label) {
      await device.page.locator(".current summary").click();
      await device.page.getByLabel("Your name for this device").first().fill(label);
      await device.page.getByRole("button", { name: "Save name" }).first().click();
      await device.page.getByRole("status").filter({ hasText: "Name saved." }).waitFor();
    }
  }
  const { page } = device;
  await page.goto("/sessions");
  assert.equal(await page.getByRole("listitem").count(), HOUSE.length);
  // All four were signed in a second ago. So that the picture shows what a week of use looks like, their times are moved
  // back in the page, which then words them by itself.
  await page.evaluate((house) => {
    const ago = (minutes) => new Date(Date.now() - minutes * 60_000 - 5_000).toISOString();
    for (const row of document.querySelectorAll("[data-session]")) {
      const address = row.querySelector(".facts > div:nth-child(3) dd").textContent;
      const { seen, began } = house.find((each) => each.address === address);
      const [seenAt, signedInAt] = row.querySelectorAll(".facts time");
      seenAt.dateTime = ago(seen);
      signedInAt.dateTime = ago(began);
    }
  }, HOUSE);
  await page.evaluate(async () => {
    const { showTimes } = await import("/assets/times.js");
    showTimes();
  });
  await page.evaluate(() => document.activeElement?.blur());

  mkdirSync(RESULTS, { recursive: true });
  mkdirSync(IMAGES, { recursive: true });
  for (const [colorScheme, name] of [["light", "sessions.png"], ["dark", "sessions-dark.png"]]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const kept = join(IMAGES, name);
    const path = process.env.UPDATE_SCREENSHOTS || !existsSync(kept) ? kept : join(RESULTS, name);
    await page.screenshot({ path, animations: "disabled", caret: "hide" });
    assert.ok(statSync(path).size > 20_000, `${path} shows something`);
  }
  assertNoFaults(device);
});
