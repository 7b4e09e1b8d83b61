// A provider over https: its certificate is checked.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startServer } from "../browser/server.mjs";
import { newKey } from "./provider.mjs";

test("a provider whose certificate nobody vouches for is not asked", async () => {
  const directory = mkdtempSync(join(tmpdir(), "hallpass-tls-"));
  const at = (name) => join(directory, name);
  const openssl = (...args) => execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
  openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=An authority", "-keyout", "ca.key", "-out", "ca.pem");
  openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "own.key", "-out", "own.csr");
  writeFileSync(at("names"), "subjectAltName=DNS:localhost\n");
  openssl("x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "own.pem");
  const { jwk } = await newKey("key-1");
  let issuer;
  const server = createServer({ key: readFileSync(at("own.key")), cert: readFileSync(at("own.pem")) }, (request, response) => {
    const document = {
      issuer,
      authorization_endpoint: `${issuer}/auth`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
    };
    response.end(JSON.stringify(request.url === "/jwks" ? { keys: [{ ...jwk, d: undefined }] } : document));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  issuer = `https://localhost:${server.address().port}`;
  const settings = { HALLPASS_PROVIDERS_CORP_ISSUER: issuer, HALLPASS_PROVIDERS_CORP_CLIENT_ID: "hallpass" };
  const servers = [];
  try {
    for (const [more, code, words] of [
      [{ SSL_CERT_FILE: at("ca.pem") }, 0, /corp: https:\/\/localhost:\d+ answers, with 1 signing keys/],
      [{}, 1, /corp: the provider is unavailable: .*the encrypted connection failed/],
    ]) {
      const hallpass = await startServer({ ...settings, ...more });
      servers.push(hallpass);
      const doctor = await hallpass.run(["doctor"]);
      assert.match(doctor.stdout, words);
      assert.equal(doctor.code, code);
    }
  } finally {
    for (const each of servers) await each.close();
    await new Promise((done) => server.close(done));
    rmSync(directory, { recursive: true, force: true });
  }
});
