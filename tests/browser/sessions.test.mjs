// The session manager with several real browser profiles, with JavaScript and without it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { addAccount, listSessions, signIn, tokenOf } from "./accounts.mjs";
import { assertNoFaults, DEVICES, launch, openDevice } from "./browser.mjs";
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

/** The card that shows a device. */
function card(page, name) {
  return page.getByRole("listitem").filter({ has: page.getByRole("heading", { name, exact: true }) });
}

/** Names on the page, the one marked as this device, and the number beside "Other devices". */
async function listed(page) {
  const names = await page.getByRole("heading", { level: 3 }).allTextContents();
  const marked = await page
    .getByRole("listitem")
    .filter({ has: page.getByText("This device", { exact: true }) })
    .getByRole("heading", { level: 3 })
    .allTextContents();
  return { names: names.map((name) => name.trim()).sort(), marked: marked.map((name) => name.trim()) };
}

async function assertSignedOut(device) {
  await device.page.goto("/sessions");
  assert.equal(new URL(device.page.url()).pathname, "/signin", "a device whose session has ended is sent to sign in");
  const token = await tokenOf(device);
  const { status } = await listSessions(server, `session=${token ?? "none"}`);
  assert.equal(status, 401);
}

async function assertSignedIn(device) {
  const response = await device.page.goto("/sessions");
  assert.equal(response.status(), 200);
  assert.equal(new URL(device.page.url()).pathname, "/sessions");
}

for (const javaScriptEnabled of [true, false]) {
  describe(javaScriptEnabled ? "with JavaScript" : "without JavaScript", () => {
    let account;
    let devices;

    /** Three profiles of one account; `first` acts. */
    const setUp = async () => {
      account = await addAccount(server);
      devices = {};
      for (const [key, { userAgent }] of Object.entries(DEVICES)) {
        devices[key] = await openDevice(browser, server.origin, { userAgent, javaScriptEnabled });
      }
    };
    const tearDown = async () => {
      for (const device of Object.values(devices)) {
        assertNoFaults(device);
        await device.context.close();
      }
    };

    test("two browsers list both, each with its own marked, with readable names", async () => {
      await setUp();
      const { firefoxLinux, chromeWindows } = devices;
      await signIn(firefoxLinux, account);
      await signIn(chromeWindows, account);
      await firefoxLinux.page.reload();
      const both = [DEVICES.chromeWindows.name, DEVICES.firefoxLinux.name];
      assert.deepEqual(await listed(firefoxLinux.page), { names: both, marked: [DEVICES.firefoxLinux.name] });
      assert.deepEqual(await listed(chromeWindows.page), { names: both, marked: [DEVICES.chromeWindows.name] });
      // A token never reaches the page.
      for (const device of [firefoxLinux, chromeWindows]) {
        assert.ok(!(await device.page.content()).includes("hp_"), "the page holds no token");
      }
      await tearDown();
    });

    test("one ends the other, whose next request is signed out", async () => {
      await setUp();
      const { firefoxLinux, chromeWindows } = devices;
      await signIn(firefoxLinux, account);
      const other = await signIn(chromeWindows, account);
      await firefoxLinux.page.reload();
      await card(firefoxLinux.page, DEVICES.chromeWindows.name).getByRole("button", { name: /^Sign out/ }).click();
      await firefoxLinux.page.getByRole("status").filter({ hasText: /./ }).waitFor();
      await card(firefoxLinux.page, DEVICES.chromeWindows.name).waitFor({ state: "detached" });
      assert.deepEqual((await listed(firefoxLinux.page)).names, [DEVICES.firefoxLinux.name]);
      assert.equal((await listSessions(server, `session=${other}`)).status, 401, "the ended token is refused at once");
      await assertSignedOut(chromeWindows);
      await assertSignedIn(firefoxLinux);
      await tearDown();
    });

    test("signing out all other devices leaves exactly this one of three", async () => {
      await setUp();
      const { firefoxLinux, chromeWindows, safariPhone } = devices;
      const kept = await signIn(firefoxLinux, account);
      await signIn(chromeWindows, account);
      await signIn(safariPhone, account);
      await firefoxLinux.page.reload();
      assert.equal((await listed(firefoxLinux.page)).names.length, 3);
      await firefoxLinux.page.getByRole("button", { name: "Sign out all other devices" }).click();
      if (javaScriptEnabled) {
        const dialog = firefoxLinux.page.getByRole("dialog");
        await dialog.getByText("2 other devices will have to sign in again").waitFor();
        await dialog.getByRole("button", { name: "Sign out all others" }).click();
      }
      await firefoxLinux.page.getByRole("status").filter({ hasText: "2 sessions ended" }).waitFor();
      assert.deepEqual(await listed(firefoxLinux.page), {
        names: [DEVICES.firefoxLinux.name],
        marked: [DEVICES.firefoxLinux.name],
      });
      await firefoxLinux.page.getByText("No other device is signed in.").waitFor();
      const { sessions } = await listSessions(server, `session=${kept}`);
      assert.equal(sessions.length, 1);
      assert.equal(sessions[0].isCurrent, true);
      await assertSignedOut(chromeWindows);
      await assertSignedOut(safariPhone);
      await assertSignedIn(firefoxLinux);
      await tearDown();
    });

    test("a device takes a name, and loses it again", async () => {
      await setUp();
      const { firefoxLinux } = devices;
      const token = await signIn(firefoxLinux, account);
      const { page } = firefoxLinux;
      const rename = async (to) => {
        await page.locator("summary").click();
        await page.getByLabel("Your name for this device").fill(to);
        await page.getByRole("button", { name: "Save name" }).click();
        await page.getByRole("status").filter({ hasText: /./ }).waitFor();
      };
      await rename("Kitchen <b>tablet</b> & co");
      await card(page, "Kitchen <b>tablet</b> & co").getByText(DEVICES.firefoxLinux.name, { exact: true }).waitFor();
      assert.equal((await listSessions(server, `session=${token}`)).sessions[0].label, "Kitchen <b>tablet</b> & co");
      await page.goto("/sessions");
      await rename("");
      await card(page, DEVICES.firefoxLinux.name).waitFor();
      await tearDown();
    });

    test("signing out here ends this session alone", async () => {
      await setUp();
      const { firefoxLinux, chromeWindows } = devices;
      const ended = await signIn(firefoxLinux, account);
      await signIn(chromeWindows, account);
      await firefoxLinux.page.getByRole("banner").getByRole("button", { name: "Sign out" }).click();
      await firefoxLinux.page.waitForURL((url) => url.pathname === "/signin");
      assert.equal(await tokenOf(firefoxLinux), undefined, "the cookie is taken back");
      assert.equal((await listSessions(server, `session=${ended}`)).status, 401);
      await assertSignedIn(chromeWindows);
      // The back button must not show the list of a session that has ended.
      await firefoxLinux.page.goBack();
      await firefoxLinux.page.waitForURL((url) => url.pathname === "/signin");
      await tearDown();
    });
  });
}

test("the list follows what happens elsewhere when the tab becomes visible again", async () => {
  const account = await addAccount(server);
  const here = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const there = await openDevice(browser, server.origin, { userAgent: DEVICES.chromeWindows.userAgent });
  await signIn(here, account);
  await signIn(there, account);
  const becomeVisible = () => here.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await becomeVisible();
  await card(here.page, DEVICES.chromeWindows.name).waitFor();
  await there.page.getByRole("banner").getByRole("button", { name: "Sign out" }).click();
  await there.page.waitForURL((url) => url.pathname === "/signin");
  await becomeVisible();
  await card(here.page, DEVICES.chromeWindows.name).waitFor({ state: "detached" });
  assertNoFaults(here);
  assertNoFaults(there);
  await here.context.close();
  await there.context.close();
});

test("a page left open by an ended session goes to the sign-in when it is used", async () => {
  const account = await addAccount(server);
  const here = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const there = await openDevice(browser, server.origin, { userAgent: DEVICES.chromeWindows.userAgent });
  await signIn(here, account);
  await signIn(there, account);
  await here.page.reload();
  await there.page.reload();
  await card(there.page, DEVICES.firefoxLinux.name).getByRole("button", { name: /^Sign out/ }).click();
  await card(there.page, DEVICES.firefoxLinux.name).waitFor({ state: "detached" });
  // `here` still shows the old list; its next act must change nothing and lead to the sign-in.
  await card(here.page, DEVICES.chromeWindows.name).getByRole("button", { name: /^Sign out/ }).click();
  await here.page.waitForURL((url) => url.pathname === "/signin");
  await assertSignedIn(there);
  assertNoFaults(here);
  assertNoFaults(there);
  await here.context.close();
  await there.context.close();
});
