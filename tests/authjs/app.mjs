// A small application of Auth.js behind nginx, with hallpass where Auth.js would be: docs/INTEGRATION.md, carried out.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { freePort, startServer } from "../browser/server.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const GUIDE = join(HERE, "../../docs/INTEGRATION.md");
const PAGE = `<!doctype html><html lang="en"><title>An application</title><div id="root"></div><script src="/app.js"></script></html>`;
const NGINX = ["/usr/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"].find(existsSync) ?? "nginx";
const START_MS = 10_000;

/** The block of `language` in the guide, without the indentation of its list. */
function block(language) {
  const found = readFileSync(GUIDE, "utf8").match(new RegExp("^ *```" + language + "\\n([^]*?)^ *```$", "m"));
  if (!found) throw new Error(`the guide has no block of ${language}`);
  return found[1];
}

/** Replaces what stands for this test's own addresses; the guide must name it. */
function put(text, from, to) {
  if (!text.includes(from)) throw new Error(`the guide does not say ${from}`);
  return text.replaceAll(from, to);
}

/** The application's script with the client of `version` (5 or 4) as it came from npm. */
async function bundle(version) {
  const { outputFiles } = await build({
    entryPoints: [join(HERE, "app/page.jsx")],
    alias: { "next-auth": `next-auth-${version}` },
    define: { "process.env.NODE_ENV": '"production"', "process.env": "{}" },
    bundle: true,
    format: "iife",
    jsx: "automatic",
    logLevel: "error",
    write: false,
  });
  return outputFiles[0].text;
}

/** nginx with the application's files, and the guide's location. */
function configuration(port, location) {
  return `
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 256; }
http {
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  types { text/html html; text/javascript js; }
  server {
    listen 127.0.0.1:${port};
    root app;
    location / { try_files $uri /index.html; }
    location = /favicon.ico { return 204; }
    ${location}
  }
}
`;
}

/**
 * Starts the application with the client of `version`, and hallpass for it, with `more` settings in its environment. The result has `origin`, `hallpass` (as `startServer` gives it), `calls()` (method and
 * path of each request that nginx has answered, in order) and `close()`.
 */
export async function startApp(version, more = {}) {
  const [script, port] = await Promise.all([bundle(version), freePort()]);
  const origin = `http://127.0.0.1:${port}`;
  const directory = mkdtempSync(join(process.env.HALLPASS_TEST_ARTIFACTS || tmpdir(), "hallpass-app-"));
  mkdirSync(join(directory, "app"));
  writeFileSync(join(directory, "app/index.html"), PAGE);
  writeFileSync(join(directory, "app/app.js"), script);

  let settings = put(block("toml"), "https://app.example.org", origin);
  if (version === "4") settings = put(settings, 'auth_api = "authjs5"', 'auth_api = "nextauth4"');
  writeFileSync(join(directory, "hallpass.toml"), settings);
  // The port is the server's own choice: environment over file.
  const hallpass = await startServer({ HALLPASS_CONFIG: join(directory, "hallpass.toml"), ...more });

  const location = put(block("nginx"), "http://127.0.0.1:8080", hallpass.origin);
  writeFileSync(join(directory, "nginx.conf"), configuration(port, location));
  const nginx = spawn(NGINX, ["-p", directory, "-c", "nginx.conf", "-e", "error.log"], { stdio: "ignore" });
  const exited = new Promise((done) => {
    nginx.once("exit", done);
    nginx.once("error", done);
  });
  const app = {
    origin,
    hallpass,
    calls: () => [...readFileSync(join(directory, "access.log"), "utf8").matchAll(/"([A-Z]+) ([^ ?"]+)/g)].map(([, method, path]) => `${method} ${path}`),
    async close() {
      nginx.kill("SIGTERM");
      await exited;
      await hallpass.close();
      if (!process.env.HALLPASS_TEST_ARTIFACTS) rmSync(directory, { recursive: true, force: true });
    },
  };
  let ended = false;
  exited.then(() => {
    ended = true;
  });
  for (const deadline = Date.now() + START_MS; ; await pause(50)) {
    const answers = await fetch(origin, { signal: AbortSignal.timeout(2_000) }).then((answer) => answer.ok, () => false);
    if (answers) return app;
    if (ended || Date.now() > deadline) {
      const log = join(directory, "error.log");
      const said = existsSync(log) ? readFileSync(log, "utf8") : `no nginx at ${NGINX}: install it`;
      await app.close();
      throw new Error(`nginx does not answer\n${said}`);
    }
  }
}
