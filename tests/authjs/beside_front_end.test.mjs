// docs/INTEGRATION.md, "A Rust backend beside a Next.js front end", carried out: nginx as it says, Auth.js itself as the front end, the example as the backend, and the session manager
// of the backend in Chromium.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../browser/browser.mjs";
import { freePort } from "../browser/server.mjs";
import { startBackend } from "./adapters/backend.mjs";
import { DATABASES } from "./adapters/databases.mjs";
import { startFrontEnd } from "./front_end.mjs";
import { block, put } from "./guide.mjs";
import { startProxy } from "./proxy.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const GUIDE = "A Rust backend beside a Next.js front end";
const COOKIE = "authjs.session-token";
const DAY = 86_400_000;
/** As hallpass reads the user agent of the tests' browser. */
const CHROMIUM = "Chrome on Linux";

describe("a backend beside a front end, behind the guide's proxy", () => {
  const closing = [];
  let open;
  let origin;
  let user;
  let browser;

  before(async () => {
    open = await DATABASES.find(({ name }) => name === "prisma on postgres").open();
    closing.push(() => open.close());
    const port = await freePort();
    origin = `http://127.0.0.1:${port}`;
    const backend = await startBackend(open.url, { publicUrl: origin, cookie: COOKIE });
    closing.push(() => backend.close());
    const frontEnd = await startFrontEnd(open.adapter, origin);
    closing.push(() => frontEnd.close());
    const directory = mkdtempSync(join(tmpdir(), "hallpass-beside-"));
    closing.push(() => rmSync(directory, { recursive: true, force: true }));
    const theirs = `location / { proxy_pass ${frontEnd.url}; proxy_set_header Host $http_host; }`;
    const ours = put(block(GUIDE, "nginx"), "http://127.0.0.1:3001", backend.origin);
    const proxy = await startProxy(directory, port, [theirs, ours]);
    closing.push(() => proxy.close());
    browser = await launch();
    closing.push(() => browser.close());
    user = await open.adapter.createUser({ name: "Ada", email: "ada@example.com", emailVerified: null, image: null });
  });
  after(async () => {
    for (const close of closing.reverse()) await close();
  });

  /** A browser that Auth.js has signed in. */
  async function device() {
    const sessionToken = randomUUID();
    await open.adapter.createSession({ sessionToken, userId: user.id, expires: new Date(Date.now() + 30 * DAY) });
    const context = await browser.newContext();
    await context.addCookies([{ name: COOKIE, value: sessionToken, url: origin, httpOnly: true, sameSite: "Lax" }]);
    const atAuthJs = async () => (await context.request.get(`${origin}/api/auth/session`)).json();
    return { context, sessionToken, atAuthJs };
  }

  test("the page shows what Auth.js made, ends it, and Auth.js says null", async () => {
    const [laptop, phone] = [await device(), await device()];
    assert.equal((await phone.atAuthJs()).user.email, "ada@example.com");
    const page = await laptop.context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(`${origin}/backend/account/sessions`);
    assert.equal(await page.locator(".badge").count(), 1, "one of them is this device");
    const ids = await page.locator("input[name='id']").evaluateAll((inputs) => inputs.map(({ value }) => value));
    assert.equal(new Set(ids).size, 2);
    // Auth.js keeps no user agent: this browser is known by the request for this page, and the other one has made none to the backend yet.
    const names = async () => (await page.locator("[data-name]").allTextContents()).map((name) => name.trim());
    assert.deepEqual(await names(), [CHROMIUM, "Unknown device"]);
    assert.equal(await page.locator(".current dt:text-is('Address') + dd").textContent(), "127.0.0.1");
    const phonePage = await phone.context.newPage();
    await phonePage.goto(`${origin}/backend/me`);
    await page.reload();
    assert.deepEqual(await names(), [CHROMIUM, CHROMIUM]);
    if (process.env.HALLPASS_SHOW) await page.screenshot({ path: process.env.HALLPASS_SHOW, fullPage: true });
    const content = await page.content();
    assert.ok(!content.includes(laptop.sessionToken) && !content.includes(phone.sessionToken), "no page shows a token");

    await page.getByRole("button", { name: /sign out all other/i }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: /sign out|end/i });
    if (await confirm.count()) await confirm.first().click();
    await page.locator("#notice").filter({ hasText: /\S/ }).waitFor();
    assert.equal(await phone.atAuthJs(), null);
    assert.equal((await laptop.atAuthJs()).user.email, "ada@example.com");
    assert.deepEqual(errors, []);

    // Signing out at the front end ends it at the backend.
    await open.adapter.deleteSession(laptop.sessionToken);
    await page.goto(`${origin}/backend/account/sessions`);
    assert.match(page.url(), /\/api\/auth\/signin/);
  });

  test("what was noted of a browser outlives the backend, and no other browser with its cookie is noted", async () => {
    const first = await startBackend(open.url, { publicUrl: origin, cookie: COOKIE });
    closing.push(() => first.close());
    const { context, sessionToken } = await device();
    // As the server of the front end asks while it renders a page: it is nobody's device.
    const rendering = await fetch(`${first.origin}/backend/me`, { headers: { cookie: `${COOKIE}=${sessionToken}` } });
    assert.equal(rendering.status, 200);
    const page = await context.newPage();
    await page.goto(`${first.origin}/backend/me`);
    await first.close();
    const second = await startBackend(open.url, { publicUrl: origin, cookie: COOKIE });
    try {
      // Another browser, for all that the backend can see.
      const { body } = await second.ask("/account/api/sessions", { token: sessionToken });
      const noted = body.find(({ isCurrent }) => isCurrent);
      assert.equal(noted.device.name, CHROMIUM);
      assert.equal(noted.device.userAgent, await page.evaluate(() => navigator.userAgent));
      assert.equal(noted.ip, "127.0.0.1");
    } finally {
      await second.close();
    }
  });

  test("the guide's words are those of the example", () => {
    const example = readFileSync(join(HERE, "../../examples/beside_nextjs/src/main.rs"), "utf8").replace(/\s+/g, " ");
    for (const word of [
      "Policies::default()",
      "AuthjsOptions::of(policies.of(&Class::WEB))",
      "AuthjsStore::connect_postgres(",
      ".policies(policies).build()?",
      ".cookie_name(CookieName::Authjs5)",
      '.sign_in_path("/api/auth/signin")',
      '.trusted_proxies(["127.0.0.1/32".parse()?])',
    ]) {
      assert.ok(block(GUIDE, "rust").includes(word), `the guide: ${word}`);
      assert.ok(example.replace(/ (?=\.)/g, "").includes(word), `the example: ${word}`);
    }
  });
});
