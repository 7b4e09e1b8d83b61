// docs/INTEGRATION.md, "The session manager beside Auth.js's own sign-in", carried out: nginx as it says, Auth.js itself in front, `hallpass serve` on its database, and
// both in one Chromium.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertNoFaults, launch, openDevice } from "../browser/browser.mjs";
import { freePort, startServer } from "../browser/server.mjs";
import { DATABASES } from "./adapters/databases.mjs";
import { startFrontEnd } from "./front_end.mjs";
import { block, put } from "./guide.mjs";
import { startProxy } from "./proxy.mjs";

const GUIDE = "The session manager beside Auth.js's own sign-in";
const COOKIE = "authjs.session-token";
const EMAIL = "ada@example.com";

for (const name of ["prisma on sqlite", "prisma on postgres"]) {
  describe(`the session manager beside the application's own sign-in, ${name}`, () => {
    const closing = [];
    let origin;
    let frontEnd;
    let hallpass;
    let proxy;
    let browser;

    before(async () => {
      const open = await DATABASES.find((database) => database.name === name).open();
      closing.push(() => open.close());
      const [port, ownPort] = [await freePort(), await freePort()];
      origin = `http://127.0.0.1:${port}`;
      frontEnd = await startFrontEnd(open.adapter, origin);
      closing.push(() => frontEnd.close());
      const directory = mkdtempSync(join(tmpdir(), "hallpass-elsewhere-"));
      closing.push(() => rmSync(directory, { recursive: true, force: true }));
      let settings = put(block(GUIDE, "toml"), "authjs+postgres://app:password@db.example.org/app", `authjs+${open.url}`);
      settings = put(put(settings, "https://app.example.org", origin), "127.0.0.1:8080", `127.0.0.1:${ownPort}`);
      const config = join(directory, "hallpass.toml");
      writeFileSync(config, settings);
      hallpass = await startServer({ HALLPASS_CONFIG: config });
      closing.push(() => hallpass.close());
      const theirs = `location / { proxy_pass ${frontEnd.url}; proxy_set_header Host $http_host; }`;
      proxy = await startProxy(directory, port, [theirs, put(block(GUIDE, "nginx"), "http://127.0.0.1:8080", hallpass.origin)]);
      closing.push(() => proxy.close());
      browser = await launch();
      closing.push(() => browser.close());
    });
    after(async () => {
      for (const close of closing.reverse()) await close();
    });

    /** Signs in as the user does whom the session manager has sent to sign in. */
    async function signedIn() {
      const device = await openDevice(browser, origin);
      await device.page.goto("/sessions");
      assert.equal(device.page.url(), `${origin}/api/auth/signin?callbackUrl=%2Fsessions`, "without a session");
      await device.page.locator("input[name='email']").fill(EMAIL);
      await device.page.locator("button[type='submit']").click();
      await device.page.waitForURL(/verify-request/);
      await device.page.goto(frontEnd.link);
      await device.page.waitForURL(`${origin}/sessions`);
      const cookies = await device.context.cookies();
      assert.ok(cookies.some((cookie) => cookie.name === COOKIE), "Auth.js signs in");
      const atAuthjs = async () => (await device.context.request.get(`${origin}/api/auth/session`)).json();
      return { ...device, atAuthjs };
    }

    test("Auth.js signs in, the page shows its sessions and ends one, and Auth.js says null", async () => {
      const laptop = await signedIn();
      const phone = await signedIn();
      assert.equal((await phone.atAuthjs()).user.email, EMAIL);
      await laptop.page.reload();
      assert.equal(await laptop.page.locator("[data-session]").count(), 2);
      assert.equal(await laptop.page.locator(".badge").count(), 1, "one of them is this device");
      const other = laptop.page.locator("[data-session]:not(.current)");
      await other.getByRole("button", { name: /sign out|end/i }).click();
      const confirm = laptop.page.getByRole("dialog").getByRole("button", { name: /sign out|end/i });
      if (await confirm.count()) await confirm.first().click();
      await laptop.page.locator("#notice").filter({ hasText: /\S/ }).waitFor();
      assert.equal(await phone.atAuthjs(), null);
      assert.equal((await laptop.atAuthjs()).user.email, EMAIL);
      // Whoever was signed out is sent to the application's sign-in.
      await phone.page.goto("/sessions");
      assert.equal(phone.page.url(), `${origin}/api/auth/signin?callbackUrl=%2Fsessions`);

      // Signing out on the page is signing out of the application.
      await laptop.page.getByRole("button", { name: "Sign out", exact: true }).click();
      await laptop.page.waitForURL(`${origin}/api/auth/signin`);
      assert.equal(await laptop.atAuthjs(), null);
      for (const device of [laptop, phone]) {
        assertNoFaults(device);
        await device.context.close();
      }
    });

    test("programs are told that nobody is signed in, and nothing else of the origin is hallpass's", async () => {
      const asked = await fetch(`${origin}/api/sessions`);
      assert.deepEqual([asked.status, await asked.json()], [401, { error: "Unauthorized" }]);
      for (const asset of ["hallpass.css", "hallpass.svg", "sessions.js", "times.js"]) assert.equal((await fetch(`${origin}/assets/${asset}`)).status, 200, asset);
      // The front end answers 400 to what is none of its own.
      for (const path of ["/signin", "/linked-accounts", "/setup", "/sessionsx", "/assets/app.js"]) assert.equal((await fetch(`${origin}${path}`)).status, 400, path);
    });
  });
}
