// A34, A53: what a client says about itself, and what its owner calls it, is only ever text: in the page and in a terminal.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { addAccount, listSessions, signIn, signInByHttp } from "./accounts.mjs";
import { assertAccessible, assertNoFaults, assertNoSidewaysScroll, DEVICES, launch, openDevice } from "./browser.mjs";
import { startServer } from "./server.mjs";

const MARKUP = [
  "<img src=x onerror=alert(1)>",
  "</script><script>alert(2)</script>",
  '"onmouseover="alert(3)" x="',
  "{{7*7}} &lt;b&gt; &amp;",
  `</dd></dl><h3>This device</h3> ${"A".repeat(8192)}`,
];

// As UTF-8 bytes, which a header carries as Latin-1: C1 control introducer, right-to-left override, line separator.
const BEYOND_ASCII = Buffer.from("caf\u00e9 \u009b31mred \u202egnp.exe \u2028 \u0085 end", "utf8").toString("latin1");

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

/** Characters that a terminal would act on. */
function controls(text) {
  // eslint-disable-next-line no-control-regex
  return [...text.matchAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu)].map(
    (match) => `U+${match[0].codePointAt(0).toString(16)}`,
  );
}

test("a34_markup_in_a_user_agent_is_text_in_the_page", async () => {
  const account = await addAccount(server);
  for (const userAgent of MARKUP) await signInByHttp(server, account, userAgent);
  await signInByHttp(server, account, BEYOND_ASCII);
  for (const javaScriptEnabled of [true, false]) {
    const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent, javaScriptEnabled });
    const { page } = device;
    await signIn(device, account);
    for (const summary of await page.locator("summary").all()) await summary.click();
    const shown = (await page.locator("dd.raw").allTextContents()).map((text) => text.trim());
    for (const userAgent of MARKUP) {
      // Stored user agents are cut to a bound; what is shown is the text itself, not an interpretation of it.
      assert.ok(
        shown.some((text) => text.length >= Math.min(userAgent.length, 256) && userAgent.startsWith(text.replace(/…$/, ""))),
        `shown as text: ${userAgent.slice(0, 60)}; page has ${JSON.stringify(shown.map((text) => text.slice(0, 60)))}`,
      );
    }
    // Nothing of it became an element, an attribute or a script.
    const injected = await page.evaluate(() => ({
      images: [...document.images].filter((image) => !image.src.includes("/assets/")).length,
      scripts: [...document.scripts].filter((script) => !script.src.includes("/assets/")).length,
      handlers: [...document.querySelectorAll("*")].filter((element) =>
        [...element.attributes].some((attribute) => attribute.name.startsWith("on")),
      ).length,
      badges: [...document.querySelectorAll("h3")].filter((heading) => heading.textContent.trim() === "This device").length,
    }));
    assert.deepEqual(injected, { images: 0, scripts: 0, handlers: 0, badges: 0 });
    await page.mouse.move(400, 400);
    await assertNoSidewaysScroll(page, "hostile list");
    // Refreshing by script goes another way than loading: the same holds.
    if (javaScriptEnabled) {
      await assertAccessible(page, "hostile list");
      const answered = page.waitForResponse((response) => new URL(response.url()).pathname === "/sessions");
      await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
      await (await answered).finished();
      await page.waitForFunction(() => document.querySelectorAll("dd.raw").length > 5);
      assert.equal(await page.locator("main img, main script").count(), 0);
    }
    assertNoFaults(device);
    await device.context.close();
  }
});

test("a34_a_label_is_text_in_the_page", async () => {
  const account = await addAccount(server);
  const device = await openDevice(browser, server.origin, { userAgent: DEVICES.firefoxLinux.userAgent });
  const { page } = device;
  const token = await signIn(device, account);
  const { sessions } = await listSessions(server, `session=${token}`);
  const label = '"><img src=x onerror=alert(1)>';
  const rename = (text) =>
    page.evaluate(
      async ({ id, label: value }) =>
        (
          await fetch(`/api/sessions/${id}`, {
            method: "PATCH",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ label: value }),
          })
        ).status,
      { id: sessions[0].id, label: text },
    );
  assert.equal(await rename(label), 200);
  await page.reload();
  assert.equal((await page.getByRole("heading", { level: 3 }).textContent()).trim(), label);
  await page.locator("summary").click();
  assert.equal(await page.getByLabel("Your name for this device").inputValue(), label);
  assert.equal(await page.locator("main img").count(), 0);
  // Control characters are refused or dropped, never kept.
  await rename("\u001b[31mred\u0007\u0000");
  await page.reload();
  assert.deepEqual(controls(await page.getByRole("heading", { level: 3 }).textContent()), []);
  assertNoFaults(device);
  await device.context.close();
});

test("a53_the_command_line_strips_what_a_terminal_would_act_on", async () => {
  const account = await addAccount(server);
  for (const userAgent of MARKUP) await signInByHttp(server, account, userAgent);
  await signInByHttp(server, account, BEYOND_ASCII);
  const table = await server.run(["sessions", "list"]);
  assert.equal(table.code, 0, table.stderr);
  assert.ok(table.stdout.includes(account.email) || table.stdout.split("\n").length > 6, table.stdout);
  assert.deepEqual(controls(table.stdout), []);
  const json = await server.run(["sessions", "list", "--json"]);
  assert.equal(json.code, 0, json.stderr);
  assert.doesNotThrow(() => JSON.parse(json.stdout));
  assert.deepEqual(controls(json.stdout), [], "JSON escapes controls");
  assert.ok(JSON.stringify(JSON.parse(json.stdout)).includes("<img src=x onerror=alert(1)>"), "and loses no text");
  // Nor do the logs.
  assert.deepEqual(controls(server.log()), []);
});

test("a53_an_escape_byte_in_a_header_is_refused_or_kept_out", async () => {
  const { port } = new URL(server.origin);
  const answer = await new Promise((done, failed) => {
    const socket = connect(Number(port), "127.0.0.1");
    const parts = [];
    socket.setTimeout(10_000, () => socket.destroy(new Error("no answer")));
    socket.on("data", (part) => parts.push(part));
    socket.on("close", () => done(Buffer.concat(parts).toString("latin1")));
    socket.on("error", failed);
    socket.write(`GET /signin HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUser-Agent: \u001b[31mred\u001b]0;title\u0007\r\nConnection: close\r\n\r\n`);
  });
  assert.match(answer, /^HTTP\/1\.1 (400|200) /);
  assert.ok(!answer.includes("\u001b"));
  assert.deepEqual(controls(server.log()), []);
});
