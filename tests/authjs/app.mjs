// A small application of Auth.js behind nginx, with hallpass where Auth.js would be: docs/INTEGRATION.md, carried out.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { freePort, startServer } from "../browser/server.mjs";
import { block, put } from "./guide.mjs";
import { startProxy } from "./proxy.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const GUIDE = "In place of Auth.js";
const PAGE = `<!doctype html><html lang="en"><title>An application</title><div id="root"></div><script src="/app.js"></script></html>`;

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

  let settings = put(block(GUIDE, "toml"), "https://app.example.org", origin);
  if (version === "4") settings = put(settings, 'auth_api = "authjs5"', 'auth_api = "nextauth4"');
  writeFileSync(join(directory, "hallpass.toml"), settings);
  // The port is the server's own choice: environment over file.
  const hallpass = await startServer({ HALLPASS_CONFIG: join(directory, "hallpass.toml"), ...more });

  const files = `root ${join(directory, "app")};\n    location / { try_files $uri /index.html; }`;
  const location = put(block(GUIDE, "nginx"), "http://127.0.0.1:8080", hallpass.origin);
  const proxy = await startProxy(directory, port, [files, location]).catch(async (error) => {
    await hallpass.close();
    throw error;
  });
  return {
    origin,
    hallpass,
    calls: proxy.calls,
    async close() {
      await proxy.close();
      await hallpass.close();
      if (!process.env.HALLPASS_TEST_ARTIFACTS) rmSync(directory, { recursive: true, force: true });
    },
  };
}
