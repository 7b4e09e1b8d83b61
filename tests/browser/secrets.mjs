// Tells the end of the test run which secrets must not appear in what the servers left behind (scripts/find-secrets.mjs).

import { appendFileSync } from "node:fs";
import { randomBytes } from "node:crypto";

/** Notes a token or password, one per line, in the file named by HALLPASS_TEST_SECRETS, if there is one. */
export function recordSecret(secret) {
  const list = process.env.HALLPASS_TEST_SECRETS;
  if (list && secret) appendFileSync(list, `${secret}\n`, { mode: 0o600 });
  return secret;
}

/** A password that cannot appear by chance, recorded. */
export function newPassword() {
  return recordSecret(`corridor ${randomBytes(12).toString("base64url")} bell`);
}
