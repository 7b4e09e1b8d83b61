// Requests answered by Auth.js itself and by hallpass: what differs stands here with its reason, and all else is equal.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { addAccount } from "../browser/accounts.mjs";
import { recordSecret } from "../browser/secrets.mjs";
import { startServer } from "../browser/server.mjs";
import { authjs5, nextauth4 } from "./peers.mjs";
import { DIFFERENCES, TABLE } from "./wire_table.mjs";

const PATIENCE_MS = 15_000;
const COMPARED = ["content-type", "cache-control", "pragma", "expires", "location"];

/** hallpass at `origin`, asked at the address where it listens. */
function hallpass(server) {
  return {
    async ask({ method, path, headers, body }) {
      const options = { method, headers, body, redirect: "manual", signal: AbortSignal.timeout(PATIENCE_MS) };
      const response = await fetch(new URL(path, server.origin), options);
      return { status: response.status, headers: [...response.headers], body: method === "HEAD" ? "" : await response.text() };
    },
  };
}

/** One browser: keeps what it is told to keep, and sends it back. */
class Browser {
  cookies = new Map();
  constructor(peer, origin) {
    this.peer = peer;
    this.origin = origin;
  }

  async ask(method, path, { form, json, headers = {} } = {}) {
    const sent = { origin: this.origin, ...headers };
    if (this.cookies.size > 0) sent.cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    let body;
    if (form) {
      sent["content-type"] = "application/x-www-form-urlencoded";
      body = new URLSearchParams(form).toString();
    } else if (json) {
      sent["content-type"] = "application/json";
      body = JSON.stringify(json);
    }
    const answer = await this.peer.ask({ method, path, headers: sent, body });
    this.last = { method, path: path.split("?", 1)[0] };
    for (const line of linesOf(answer, "set-cookie")) {
      const [pair] = line.split(";", 1);
      const [name, value] = pair.split(/=(.*)/s);
      if (value === "") this.cookies.delete(name);
      else this.cookies.set(name, value);
      if (value.startsWith("hp_")) recordSecret(value);
    }
    return answer;
  }

  /** The token of the forms, as a client gets it. */
  async csrf() {
    return JSON.parse((await this.ask("GET", "/api/auth/csrf")).body).csrfToken;
  }
}

function linesOf(answer, name) {
  return answer.headers.filter(([other]) => other === name).map(([, value]) => value);
}

/** What of a text is new each time. */
function plain(text) {
  return text.replace(/[0-9a-f]{64}/g, "<64 hex>").replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>");
}

/** An answer as it is compared: names and attributes of cookies, but no value that is new each time. */
function shown(answer) {
  const headers = COMPARED.map((name) => [name, plain(linesOf(answer, name).join(", "))]);
  const cookies = linesOf(answer, "set-cookie").map((line) => {
    const [pair, ...attributes] = line.split("; ");
    const [name, value] = pair.split(/=(.*)/s);
    const kept = attributes.map((one) => one.replace(/^Expires=(?!Thu, 01 Jan 1970).*/, "Expires=<time>"));
    const kind = value === "" ? "" : /session/.test(name) ? "<token>" : plain(decodeURIComponent(value));
    return [`${name}=${kind}`, ...kept.sort()].join("; ");
  });
  const [type = ""] = linesOf(answer, "content-type");
  const text = type.startsWith("text/html") ? "<page>" : plain(answer.body);
  const body = type.startsWith("application/json") && text !== "" ? JSON.parse(text) : text;
  return { status: answer.status, body, ...Object.fromEntries(headers), cookies: cookies.sort() };
}

const PEERS = { authjs5, nextauth4 };
const applied = new Set();

for (const [api, startPeer] of Object.entries(PEERS)) {
  for (const scheme of ["http", "https"]) {
    describe(`${api} over ${scheme}`, () => {
      let server;
      let account;
      let origin;

      before(async () => {
        const settings = scheme === "https" ? { HALLPASS_PUBLIC_URL: "https://app.example" } : {};
        server = await startServer({ HALLPASS_AUTH_API: api, ...settings });
        origin = settings.HALLPASS_PUBLIC_URL ?? server.origin;
        account = await addAccount(server, { name: "Ada" });
      });

      after(async () => {
        await server?.close();
      });

      for (const row of TABLE) {
        test(row.name, async () => {
          const context = { account, origin, api, isSecure: scheme === "https" };
          const ask = async (peer) => {
            const browser = new Browser(peer, origin);
            return { answer: shown(await row.ask(browser, context)), asked: browser.last };
          };
          const theirs = await ask(startPeer(origin, account, { jwt: !row.database }));
          const ours = await ask(hallpass(server));
          let expected = theirs.answer;
          for (const difference of DIFFERENCES) {
            const changed = difference.apply(structuredClone(expected), { ...context, ...theirs.asked });
            if (!isDeepStrictEqual(changed, expected)) applied.add(difference);
            expected = changed;
          }
          assert.deepEqual(ours.answer, expected, "hallpass (actual) and Auth.js with the differences (expected)");
        });
      }
    });
  }
}

describe("the differences", () => {
  test("each was seen in an answer of Auth.js and stands in the guide", () => {
    const guide = readFileSync(new URL("../../docs/INTEGRATION.md", import.meta.url), "utf8");
    for (const { when, theirs, ours, ...difference } of DIFFERENCES) {
      assert.ok([...applied].some((one) => one.apply === difference.apply), `not seen: ${when}: ${theirs}`);
      assert.ok(guide.includes(`| ${when} | ${theirs} | ${ours} |`), `not in docs/INTEGRATION.md: | ${when} | ${theirs} | ${ours} |`);
    }
  });
});
