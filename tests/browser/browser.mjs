// One Chromium for a test file, and what the tests ask of every page: no script error, no CSP violation, no dialog that the
// test did not expect, no accessibility violation, no sideways scroll.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** User agents of the devices that the tests sign in with, and the name each must have on the page. */
export const DEVICES = {
  firefoxLinux: {
    userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    name: "Firefox on Linux",
  },
  chromeWindows: {
    userAgent:
      "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    name: "Chrome on Windows",
  },
  safariPhone: {
    userAgent:
      "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    name: "Safari on iOS",
  },
};

/** Where Chromium is: CHROMIUM, or the usual places of Linux and macOS. */
function chromiumPath() {
  const places = [
    process.env.CHROMIUM,
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
  ];
  const found = places.find((place) => place && existsSync(place));
  if (!found) throw new Error("no Chromium found: install it, or set CHROMIUM to its path");
  return found;
}

/** Starts Chromium; the caller closes it. */
export function launch() {
  return chromium.launch({
    executablePath: chromiumPath(),
    args: [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * A browser profile of its own (cookies, user agent) with one page. `faults` collects what must stay empty: script errors,
 * console errors (CSP violations are such), dialogs, requests that left the server's origin, unexpected failures to load.
 */
export async function openDevice(browser, origin, options = {}) {
  const context = await browser.newContext({
    baseURL: origin,
    locale: "en-GB",
    timezoneId: "UTC",
    viewport: { width: 1280, height: 800 },
    ...options,
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`script error: ${error.message}`));
  page.on("console", (message) => {
    // "Failed to load resource" is Chromium's echo of a status from 400 up, which some tests provoke.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
      faults.push(`console: ${message.text()}`);
    }
  });
  page.on("dialog", async (dialog) => {
    faults.push(`dialog: ${dialog.type()} ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http") && url.origin !== origin) faults.push(`foreign request: ${url.origin}`);
  });
  page.on("response", (response) => {
    if (response.status() === 404 && new URL(response.url()).pathname.includes("/assets/")) {
      faults.push(`missing asset: ${response.url()}`);
    }
  });
  return { context, page, faults };
}

/** Fails with the list when something went wrong on the device's page. */
export function assertNoFaults(device) {
  assert.deepEqual(device.faults, []);
}

/** axe-core finds nothing on the page, in light and in dark. `where` names the page in the message; the page needs JavaScript. */
export async function assertAccessible(page, where) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // The page's CSP forbids foreign scripts; evaluation through the debugger is not subject to it.
    await page.evaluate(AXE);
    const { violations, passes } = await page.evaluate(() =>
      globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      }),
    );
    const found = violations.map(
      (v) => `${v.id} (${v.impact}): ${v.nodes.map((n) => `${n.target.join(" ")} ${n.failureSummary}`).join("; ")}`,
    );
    assert.deepEqual(found, [], `${where}, ${colorScheme}`);
    assert.ok(passes.length > 10, `${where}, ${colorScheme}: axe looked at nothing (${passes.length} rules passed)`);
    if (colorScheme === "dark") {
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const [red] = background.match(/\d+/g).map(Number);
      assert.ok(red < 60, `${where}: dark is not dark (${background})`);
    }
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: null });
}

/** Nothing on the page is wider than a phone, and no text is cut off at its edge. */
export async function assertNoSidewaysScroll(page, where, widths = [320, 390]) {
  const before = page.viewportSize();
  for (const width of widths) {
    await page.setViewportSize({ width, height: 800 });
    const seen = await page.evaluate(() => {
      const edge = document.documentElement.clientWidth;
      const wide = [...document.body.querySelectorAll("*")]
        .filter((element) => {
          const box = element.getBoundingClientRect();
          const hidden = element.closest(".visually-hidden, .skip, dialog:not([open])");
          return !hidden && box.width > 0 && (box.right > edge + 0.5 || box.left < -0.5);
        })
        .map((element) => `${element.tagName.toLowerCase()}.${element.className}`);
      return { edge, scroll: document.documentElement.scrollWidth, wide };
    });
    assert.equal(seen.scroll, seen.edge, `${where} scrolls sideways at ${width} px`);
    assert.deepEqual(seen.wide, [], `${where} has elements past the edge at ${width} px`);
  }
  await page.setViewportSize(before);
}
