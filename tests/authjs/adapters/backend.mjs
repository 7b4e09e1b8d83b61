// The Rust backend of docs/INTEGRATION.md beside an application: examples/beside_nextjs, started on the application's database.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const BUILT = process.env.HALLPASS_BIN ? dirname(process.env.HALLPASS_BIN) : join(HERE, "../../../target/debug");
const BINARY = resolve(BUILT, "example-beside-nextjs");
const START_MS = 30_000;

/** Starts it. `ask(path, { token, method, json, form })` answers `{ status, body, text, cookies }`; `cookie` is the name of the session cookie. */
export async function startBackend(url, { publicUrl, hashes = false, cookie }) {
  if (!existsSync(BINARY)) throw new Error(`no backend at ${BINARY}: run \`cargo build -p example-beside-nextjs\``);
  const env = { ...process.env, DATABASE_URL: url, LISTEN: "127.0.0.1:0", TOKENS: hashes ? "sha256" : "plain" };
  if (publicUrl) env.PUBLIC_URL = publicUrl;
  const child = spawn(BINARY, { env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  const exited = new Promise((done) => child.once("exit", done));
  const origin = await new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error(`the backend did not start: ${log}`)), START_MS);
    const read = (part) => {
      log += part;
      const found = log.match(/listening on (\S+)/);
      if (found) {
        clearTimeout(timer);
        done(found[1]);
      }
    };
    child.stdout.setEncoding("utf8").on("data", read);
    child.stderr.setEncoding("utf8").on("data", read);
    exited.then((code) => failed(new Error(`the backend ended with ${code}: ${log}`)));
  });
  return {
    origin,
    async ask(path, { token, method = "GET", json, form } = {}) {
      // As a browser sends it from a page of its own origin.
      const headers = { accept: "application/json", "sec-fetch-site": "same-origin" };
      if (token) headers.cookie = `${cookie}=${token}`;
      let body;
      if (json) [headers["content-type"], body] = ["application/json", JSON.stringify(json)];
      if (form) [headers["content-type"], body] = ["application/x-www-form-urlencoded", new URLSearchParams(form).toString()];
      const answer = await fetch(`${origin}/backend${path}`, { method, headers, body, redirect: "manual", signal: AbortSignal.timeout(20_000) });
      const text = await answer.text();
      const isJson = (answer.headers.get("content-type") ?? "").includes("json");
      return { status: answer.status, text, body: isJson ? JSON.parse(text) : undefined, cookies: answer.headers.getSetCookie() };
    },
    async close() {
      child.kill("SIGINT");
      await exited;
    },
  };
}
