// A32: a page of another origin, a sibling on the same site included, changes nothing here.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { addAccount, listSessions, signIn } from "./accounts.mjs";
import { DEVICES, launch, openDevice } from "./browser.mjs";
import { startServer } from "./server.mjs";

let browser;
let server;
let evil;

before(async () => {
  browser = await launch();
  server = await startServer();
  evil = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>evil</title><p>Win a prize</p>");
  });
  await new Promise((done) => evil.listen(0, "127.0.0.1", done));
});

after(async () => {
  await browser?.close();
  await server?.close();
  evil?.close();
});

const PATHS = ["/sessions/revoke", "/sessions/revoke-others", "/sessions/label", "/sessions/sign-out", "/api/auth/signout"];

test("a32_forms_and_fetches_of_another_origin_change_nothing", async () => {
  const account = await addAccount(server);
  const other = await openDevice(browser, server.origin, { userAgent: DEVICES.chromeWindows.userAgent });
  await signIn(other, account);
  const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const token = await signIn(device, account);
  const before = (await listSessions(server, `session=${token}`)).sessions;
  assert.equal(before.length, 2);
  const foreign = before.find((session) => !session.isCurrent).id;

  // 127.0.0.1 on another port is another origin of the same site, where SameSite=Lax cookies do travel; localhost is another site.
  for (const host of ["127.0.0.1", "localhost"]) {
    const origin = `http://${host}:${evil.address().port}`;
    const { page } = device;
    for (const path of PATHS) {
      for (const enctype of ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]) {
        await page.goto(origin);
        const answered = page.waitForResponse((response) => new URL(response.url()).pathname === path);
        await page.evaluate(
          ({ action, id, type }) => {
            const form = document.createElement("form");
            form.method = "post";
            form.action = action;
            form.enctype = type;
            for (const [name, value] of [["id", id], ["label", "mine"], ["_method", "DELETE"]]) {
              const input = document.createElement("input");
              input.name = name;
              input.value = value;
              form.append(input);
            }
            document.body.append(form);
            form.submit();
          },
          { action: server.origin + path, id: foreign, type: enctype },
        );
        assert.equal((await answered).status(), 403, `${host} ${path} ${enctype}`);
        await page.waitForURL((url) => url.origin === server.origin && url.pathname === path);
      }
    }
    await page.goto(origin);
    await page.evaluate(
      async ({ url, id }) => {
        const body = JSON.stringify({ sessionToken: id });
        for (const init of [
          { method: "POST", mode: "no-cors", body, headers: { "content-type": "text/plain" } },
          { method: "DELETE", body, headers: { "content-type": "application/json" } },
          { method: "POST", body, headers: { "content-type": "application/json", "x-http-method-override": "DELETE" } },
        ]) {
          await fetch(url, { credentials: "include", ...init }).catch(() => {});
        }
      },
      { url: `${server.origin}/api/sessions`, id: foreign },
    );
  }
  const { sessions } = await listSessions(server, `session=${token}`);
  assert.deepEqual(
    sessions.map(({ id, label, isCurrent }) => ({ id, label, isCurrent })),
    before.map(({ id, label, isCurrent }) => ({ id, label, isCurrent })),
  );
  await device.context.close();
  await other.context.close();
});

test("a32_a_foreign_page_cannot_sign_a_visitor_in", async () => {
  const account = await addAccount(server);
  const device = await openDevice(browser, server.origin);
  const { page } = device;
  await page.goto("/signin");
  const csrfToken = await page.locator("input[name=csrfToken]").inputValue();
  await page.goto(`http://localhost:${evil.address().port}`);
  const answered = page.waitForResponse((response) => response.url().endsWith("/api/auth/callback/credentials"));
  await page.evaluate(
    ({ action, fields }) => {
      const form = document.createElement("form");
      form.method = "post";
      form.action = action;
      for (const [name, value] of Object.entries(fields)) {
        const input = document.createElement("input");
        input.name = name;
        input.value = value;
        form.append(input);
      }
      document.body.append(form);
      form.submit();
    },
    {
      action: `${server.origin}/api/auth/callback/credentials`,
      fields: { csrfToken, email: account.email, password: account.password },
    },
  );
  assert.equal((await answered).status(), 403);
  assert.equal((await device.context.cookies()).some((cookie) => cookie.name === "session"), false);
  await device.context.close();
});

test("no_page_shows_inside_a_foreign_one", async () => {
  const device = await openDevice(browser, server.origin);
  const { page } = device;
  await page.goto(`http://localhost:${evil.address().port}`);
  for (const path of ["/signin", "/", "/no/such/page"]) {
    const answered = page.waitForResponse((response) => new URL(response.url()).pathname === path);
    const loaded = page.evaluate(
      (src) =>
        new Promise((done) => {
          const frame = document.createElement("iframe");
          frame.addEventListener("load", () => done());
          frame.src = src;
          document.body.replaceChildren(frame);
        }),
      server.origin + path,
    );
    await answered;
    await loaded;
    // By its element: the frame before it may still be in the browser's list.
    const inside = await (await page.locator("iframe").elementHandle()).contentFrame();
    assert.ok(inside);
    assert.equal(await inside.locator("main#content").count(), 0, `${path} is not shown`);
  }
  await device.context.close();
});
