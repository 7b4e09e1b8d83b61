// Every page: accessible in light and dark, no sideways scroll on a phone, no CSP violation, nothing from another origin.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { addAccount, signIn, tokenOf } from "./accounts.mjs";
import { assertAccessible, assertNoFaults, assertNoSidewaysScroll, DEVICES, launch, openDevice } from "./browser.mjs";
import { newPassword, recordSecret } from "./secrets.mjs";
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

/** What each page must pass, and the headers it must come with. */
async function assertGoodPage(page, where, response) {
  const headers = response.headers();
  const policy = headers["content-security-policy"] ?? "";
  for (const part of ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"]) {
    assert.ok(policy.includes(part), `${where}: the CSP has ${part}: ${policy}`);
  }
  assert.ok(!policy.includes("unsafe"), `${where}: ${policy}`);
  assert.equal(headers["x-content-type-options"], "nosniff", where);
  assert.match(headers["cache-control"] ?? "", /no-store/, where);
  assert.match(headers["content-type"] ?? "", /^text\/html; ?charset=utf-8$/i, where);
  assert.equal(await page.locator("[style], style, script:not([src])").count(), 0, `${where}: nothing inline`);
  const sheet = await page.evaluate(() => getComputedStyle(document.querySelector("main")).display);
  assert.equal(sheet, "grid", `${where}: the stylesheet is in force`);
  await assertAccessible(page, where);
  await assertNoSidewaysScroll(page, where);
}

test("setup creates the first account, once", async () => {
  const fresh = await startServer();
  const device = await openDevice(browser, fresh.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const { page } = device;
  const link = fresh.log().match(/http:\/\/\S*\/setup\S*/)?.[0];
  assert.ok(link, `the first start prints a link:\n${fresh.log()}`);
  const response = await page.goto(link);
  assert.equal(response.status(), 200);
  await assertGoodPage(page, "setup", response);

  const password = newPassword();
  const fill = async (secret) => {
    await page.getByLabel("Name").fill("Grace Hopper");
    await page.getByLabel("Email").fill("grace@example.org");
    await page.getByLabel("Password", { exact: true }).fill(secret);
    await page.getByRole("button", { name: "Create the account" }).click();
  };
  // Too short: the browser refuses it by itself, so ask the server without that help.
  await page.evaluate(() => {
    document.querySelector("form.card").noValidate = true;
  });
  await fill("short");
  await page.getByRole("alert").filter({ hasText: /./ }).waitFor();
  await assertAccessible(page, "setup with an error");
  await fill(password);
  await page.waitForURL((url) => !url.pathname.startsWith("/setup"));
  recordSecret(await tokenOf(device));

  const again = await page.goto(link);
  assert.ok(again.status() >= 400, `the link works once, got ${again.status()}`);
  const account = { email: "grace@example.org", password };
  const other = await openDevice(browser, fresh.origin, { userAgent: DEVICES.chromeWindows.userAgent });
  await signIn(other, account, { to: "/" });
  assertNoFaults(device);
  assertNoFaults(other);
  await device.context.close();
  await other.context.close();
  await fresh.close();
});

test("sign-in page, and its answer to a wrong password", async () => {
  const account = await addAccount(server);
  const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const { page } = device;
  const response = await page.goto("/signin");
  assert.equal(response.status(), 200);
  await assertGoodPage(page, "sign-in", response);

  await page.getByLabel("Email").fill(account.email);
  await page.getByLabel("Password", { exact: true }).fill("not the password of anybody");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: /./ }).waitFor();
  assert.equal(await tokenOf(device), undefined);
  const wrongPassword = await page.getByRole("alert").textContent();
  await assertAccessible(page, "sign-in with an error");
  await assertNoSidewaysScroll(page, "sign-in with an error");

  await page.getByLabel("Email").fill("nobody@example.org");
  await page.getByLabel("Password", { exact: true }).fill("not the password of anybody");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: /./ }).waitFor();
  assert.equal(await page.getByRole("alert").textContent(), wrongPassword, "the answer tells nothing about the account");
  assertNoFaults(device);
  await device.context.close();
});

test("a password can be looked at", async () => {
  const device = await openDevice(browser, server.origin);
  const { page } = device;
  await page.goto("/signin");
  const field = page.getByLabel("Password", { exact: true });
  await field.fill("look at me");
  const toggle = page.getByRole("button", { name: /Show/ });
  await toggle.click();
  assert.equal(await field.getAttribute("type"), "text");
  assert.equal(await toggle.getAttribute("aria-pressed"), "true");
  await toggle.click();
  assert.equal(await field.getAttribute("type"), "password");
  assertNoFaults(device);
  await device.context.close();

  const plain = await openDevice(browser, server.origin, { javaScriptEnabled: false });
  await plain.page.goto("/signin");
  assert.equal(await plain.page.getByRole("button", { name: /Show/ }).count(), 0, "no button that does nothing");
  await plain.context.close();
});

test("remember me keeps the cookie beyond the browser, and only then", async () => {
  const account = await addAccount(server);
  for (const remember of [false, true]) {
    const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
    await signIn(device, account, { remember });
    const cookie = (await device.context.cookies()).find((each) => each.name === "session");
    assert.equal(cookie.expires > 0, remember);
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.sameSite, "Lax");
    await device.context.close();
  }
});

test("home, sessions and their details", async () => {
  const account = await addAccount(server, { operator: true });
  const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const other = await openDevice(browser, server.origin, { userAgent: DEVICES.safariPhone.userAgent });
  await signIn(other, account);
  const { page } = device;
  await signIn(device, account, { to: "/" });
  await assertGoodPage(page, "home", await page.goto("/"));
  await page.getByRole("banner").getByRole("button", { name: "Sign out" }).waitFor();
  await page.getByText(account.email).first().waitFor();
  await page.getByRole("link", { name: /Your sessions/ }).click();
  await page.waitForURL((url) => url.pathname === "/sessions");

  await assertGoodPage(page, "sessions", await page.goto("/sessions"));
  for (const summary of await page.locator("summary").all()) await summary.click();
  await assertAccessible(page, "sessions, details open");
  await assertNoSidewaysScroll(page, "sessions, details open");
  await page.getByText(DEVICES.firefoxLinux.userAgent).waitFor();
  await page.getByRole("button", { name: "Sign out all other devices" }).click();
  await page.getByRole("dialog").waitFor();
  await assertAccessible(page, "sessions, question open");
  await assertNoSidewaysScroll(page, "sessions, question open");
  await page.getByRole("button", { name: "Cancel" }).click();

  // Without JavaScript the times are in UTC and say so.
  const plain = await openDevice(browser, server.origin, { javaScriptEnabled: false });
  await signIn(plain, account);
  for (const time of await plain.page.locator("time").all()) {
    assert.match(await time.getAttribute("datetime"), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(await time.textContent(), /UTC/);
  }
  // With it they are words.
  for (const text of await page.locator(".facts time").allTextContents()) assert.match(text, /now|ago/);
  for (const each of [device, other, plain]) {
    assertNoFaults(each);
    await each.context.close();
  }
});

test("an error page says what happened and what to do", async () => {
  const device = await openDevice(browser, server.origin);
  const { page } = device;
  const response = await page.goto("/there/is/no/such/page");
  assert.equal(response.status(), 404);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.getByText("404").first().waitFor();
  await assertGoodPage(page, "error", response);
  assertNoFaults(device);
  await device.context.close();
});
