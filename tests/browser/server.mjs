// The built `hallpass` in a directory of its own: the server on a free port, and the command line beside it.

import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { databaseSettings } from "./databases.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const BINARY = resolve(process.env.HALLPASS_BIN ?? join(HERE, "../../target/debug/hallpass"));
const START_MS = 30_000;
const STOP_MS = 15_000;
const COMMAND_MS = 60_000;

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((done, failed) => {
    const probe = createServer();
    probe.once("error", failed);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

/** The environment of a test server: this one's, without settings that would leak into it. */
function environment(extra) {
  const kept = Object.entries(process.env).filter(([name]) => !/^(HALLPASS_|CRON_SECRET|AUTH_|NEXTAUTH_)/.test(name));
  return { ...Object.fromEntries(kept), ...extra };
}

/**
 * Starts `hallpass serve` and resolves when it answers. `settings` are extra environment variables. Its database is its own, of the
 * engine that HALLPASS_BROWSER_ENGINE names.
 *
 * The result has `origin`, `directory`, `log()` (all it printed), `run(args, {input})` (the command line in the same
 * directory), `kill(signal)` and `close()`. With HALLPASS_TEST_ARTIFACTS set the directory (database and log) is made there and kept.
 */
export async function startServer(settings = {}) {
  if (!existsSync(BINARY)) {
    throw new Error(`no server at ${BINARY}: run \`cargo build -p hallpass-server\`, or set HALLPASS_BIN to the binary`);
  }
  const artifacts = process.env.HALLPASS_TEST_ARTIFACTS;
  if (artifacts) mkdirSync(artifacts, { recursive: true });
  const directory = mkdtempSync(join(artifacts || tmpdir(), "hallpass-browser-"));
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const env = environment({ HALLPASS_LISTEN: `127.0.0.1:${port}`, NO_COLOR: "1", ...(await databaseSettings()), ...settings });

  const logPath = join(directory, "server.log");
  const logFile = openSync(logPath, "a");
  const child = spawn(BINARY, ["serve"], { cwd: directory, env, stdio: ["ignore", logFile, logFile] });
  closeSync(logFile);
  const log = () => readFileSync(logPath, "utf8");
  const exited = new Promise((done) => {
    child.once("exit", (code, signal) => done({ code, signal }));
    child.once("error", (error) => done({ code: error.message }));
  });

  let ended = null;
  exited.then((how) => {
    ended = how;
  });

  const server = {
    origin,
    directory,
    log,
    async kill(signal = "SIGKILL") {
      child.kill(signal);
      await exited;
    },
    async close() {
      if (!ended) {
        child.kill("SIGTERM");
        const how = await Promise.race([exited, pause(STOP_MS, null, { ref: false })]);
        if (how === null) {
          child.kill("SIGKILL");
          await exited;
          throw new Error(`the server did not stop within ${STOP_MS} ms of SIGTERM\n${log()}`);
        }
      }
      if (!artifacts) rmSync(directory, { recursive: true, force: true });
    },
    run: (args, options) => runCommand(args, { cwd: directory, env, ...options }),
  };

  const deadline = Date.now() + START_MS;
  for (;;) {
    if (ended) {
      const said = log();
      await server.close();
      throw new Error(`the server ended at start (${JSON.stringify(ended)})\n${said}`);
    }
    try {
      const response = await fetch(`${origin}/api/auth/providers`, { signal: AbortSignal.timeout(2_000) });
      await response.body?.cancel();
      if (response.ok) return server;
    } catch {
      // Not listening yet.
    }
    if (Date.now() > deadline) {
      const said = log();
      await server.kill();
      await server.close();
      throw new Error(`the server did not answer within ${START_MS} ms\n${said}`);
    }
    await pause(50);
  }
}

/** Runs `hallpass ARGS`, feeding `input`; resolves to { code, stdout, stderr } with the streams as text. */
function runCommand(args, { cwd, env, input = "" }) {
  return new Promise((done, failed) => {
    const child = spawn(BINARY, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"], timeout: COMMAND_MS });
    const out = [];
    const err = [];
    child.stdout.on("data", (part) => out.push(part));
    child.stderr.on("data", (part) => err.push(part));
    child.once("error", failed);
    child.once("close", (code, signal) =>
      done({ code: code ?? signal, stdout: Buffer.concat(out).toString("utf8"), stderr: Buffer.concat(err).toString("utf8") }),
    );
    // A command that ends before it reads its input is no failure of the test.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}
