#!/usr/bin/env node
// Searches what a test run left behind (databases, logs) for every secret that the run issued or was given.
//
//   scripts/find-secrets.mjs SECRETS_FILE ARTIFACTS_DIRECTORY
//   scripts/find-secrets.mjs --self-test
//
// SECRETS_FILE has one secret per line: a token's full text or a password, as the tests append them to the file named by
// HALLPASS_TEST_SECRETS. ARTIFACTS_DIRECTORY is HALLPASS_TEST_ARTIFACTS, where the tests keep the servers' files. Each secret
// is looked for in all the forms in which it could leak: as it is, hex, base64 and base64url at any alignment,
// percent-encoded, JSON-escaped; of a token also its 32-byte secret part alone, raw and in those forms.
//
// Exit code 0: searched, nothing found. 1: something found, or there was nothing to search for or in. 2: wrong usage.

import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, readdirSync, rmSync, statSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";

const CHUNK = 1 << 22;
// Below this a match may be chance, and a test that uses such a secret proves nothing.
const SHORTEST_SECRET = 8;
const TOKEN = /^hp_[A-Za-z0-9_-]{68}$/;
const ID_BYTES = 16;
const SECRET_BYTES = 32;

/** The characters of base64 that depend on `bytes` alone, for each way it can lie in a longer encoded run. */
function base64Cores(bytes, encoding) {
  return [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString(encoding).replace(/=+$/, "");
    const first = Math.ceil((offset * 8) / 6);
    const last = Math.floor(((offset + bytes.length) * 8) / 6);
    return text.slice(first, last);
  });
}

/** Every form of one secret, as [name, bytes] pairs. */
function formsOf(secret) {
  const forms = [];
  const add = (name, bytes) => {
    if (bytes.length >= SHORTEST_SECRET) forms.push([name, Buffer.from(bytes)]);
  };
  const encodings = (name, bytes) => {
    add(name, bytes);
    add(`${name}, hex`, bytes.toString("hex"));
    add(`${name}, upper-case hex`, bytes.toString("hex").toUpperCase());
    for (const encoding of ["base64", "base64url"]) {
      for (const core of base64Cores(bytes, encoding)) add(`${name}, ${encoding}`, core);
    }
  };
  const text = Buffer.from(secret, "utf8");
  encodings("full text", text);
  add("percent-encoded", encodeURIComponent(secret));
  add("form-encoded", new URLSearchParams([["", secret]]).toString().slice(1));
  add("JSON-escaped", JSON.stringify(secret).slice(1, -1));
  if (TOKEN.test(secret)) {
    const raw = Buffer.from(secret.slice(3), "base64url");
    encodings("secret part", raw.subarray(ID_BYTES, ID_BYTES + SECRET_BYTES));
  }
  return forms;
}

/** Looks for many byte strings at once: candidates by their first four bytes, then looked up whole. Tokens of one day begin alike, so there may be many with the same beginning. */
class Finder {
  /** By the first four bytes, then by length, then by the whole. */
  #byStart = new Map();
  #maybe = new Uint8Array(1 << 21);
  longest = 0;

  add(bytes, what) {
    const start = bytes.readUInt32BE(0);
    if (!this.#byStart.has(start)) this.#byStart.set(start, new Map());
    const byLength = this.#byStart.get(start);
    if (!byLength.has(bytes.length)) byLength.set(bytes.length, new Map());
    const whole = bytes.toString("latin1");
    if (byLength.get(bytes.length).has(whole)) return;
    byLength.get(bytes.length).set(whole, what);
    const slot = Finder.#slot(start);
    this.#maybe[slot >> 3] |= 1 << (slot & 7);
    this.longest = Math.max(this.longest, bytes.length);
  }

  static #slot(start) {
    return Math.imul(start, 0x9e3779b1) >>> 8;
  }

  /** What begins at a position below `limit` of `chunk`. */
  *find(chunk, limit) {
    let start = chunk.length >= 3 ? (chunk[0] << 16) | (chunk[1] << 8) | chunk[2] : 0;
    const maybe = this.#maybe;
    for (let at = 0; at < limit && at + 4 <= chunk.length; at += 1) {
      start = ((start << 8) | chunk[at + 3]) >>> 0;
      if (start === 0 && !this.#byStart.has(0)) {
        // Preallocated files are full of zeros, with which nothing that is looked for begins.
        let next = at + 4;
        while (next < chunk.length && chunk[next] === 0) next += 1;
        at = next - 4;
        continue;
      }
      const slot = Finder.#slot(start);
      if ((maybe[slot >> 3] & (1 << (slot & 7))) === 0) continue;
      for (const [length, known] of this.#byStart.get(start) ?? []) {
        if (at + length > chunk.length) continue;
        const what = known.get(chunk.latin1Slice(at, at + length));
        if (what !== undefined) yield { at, what };
      }
    }
  }
}

function* filesUnder(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path);
    else if (entry.isFile()) yield path;
  }
}

/** Every hit in one file, read in chunks that overlap by the longest form. What `clean` has the digest of was searched before: every database server's files begin as copies of the same. */
function* hitsIn(path, finder, clean) {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(CHUNK + finder.longest);
    let kept = 0;
    let base = 0;
    for (;;) {
      const read = readSync(file, buffer, kept, buffer.length - kept, null);
      const chunk = buffer.subarray(0, kept + read);
      // All but the overlap can be decided now; at the end of the file, all of it.
      const decided = read === 0 ? chunk.length : Math.max(0, chunk.length - finder.longest);
      const digest = `${decided} ${createHash("sha256").update(chunk).digest("base64")}`;
      if (!clean.has(digest)) {
        let found = false;
        for (const { at, what } of finder.find(chunk, decided)) {
          found = true;
          yield { offset: base + at, what };
        }
        if (!found) clean.add(digest);
      }
      if (read === 0) return;
      buffer.copyWithin(0, decided, chunk.length);
      kept = chunk.length - decided;
      base += decided;
    }
  } finally {
    closeSync(file);
  }
}

/** Searches; returns what is wrong, an empty list when nothing is, and what was looked at. */
function search(secretsFile, artifacts) {
  const problems = [];
  let lines = [];
  try {
    lines = [...new Set(readFileSync(secretsFile, "utf8").split("\n").filter((line) => line !== ""))];
  } catch (error) {
    problems.push(`cannot read the list of secrets: ${error.message}`);
  }
  const finder = new Finder();
  lines.forEach((secret, index) => {
    if (Buffer.byteLength(secret) < SHORTEST_SECRET) {
      problems.push(`secret ${index + 1} has fewer than ${SHORTEST_SECRET} bytes: use one that cannot appear by chance`);
      return;
    }
    for (const [form, bytes] of formsOf(secret)) finder.add(bytes, { secret: index + 1, form, token: TOKEN.test(secret) });
  });
  if (lines.length === 0) problems.push(`no secrets in ${secretsFile}: the tests recorded none, so nothing was checked`);

  let files = 0;
  let size = 0;
  if (finder.longest > 0) {
    const clean = new Set();
    try {
      for (const path of filesUnder(artifacts)) {
        if (resolve(path) === resolve(secretsFile)) continue;
        const length = statSync(path).size;
        if (length === 0) continue;
        files += 1;
        size += length;
        for (const { offset, what } of hitsIn(path, finder, clean)) {
          const kind = what.token ? "token" : "password";
          problems.push(`${relative(artifacts, path)} byte ${offset}: the ${kind} of line ${what.secret} (${what.form})`);
          if (problems.length >= 50) return { problems, secrets: lines.length, files, size };
        }
      }
    } catch (error) {
      problems.push(`cannot search ${artifacts}: ${error.message}`);
    }
  }
  if (files === 0) problems.push(`no files under ${artifacts}: the tests kept no database and no log, so nothing was checked`);
  return { problems, secrets: lines.length, files, size };
}

/** Plants secrets in every form and checks that each is found, and that clean files pass. */
function selfTest() {
  const root = mkdtempSync(join(tmpdir(), "hallpass-find-secrets-"));
  let passed = 0;
  const failures = [];
  const check = (name, right) => {
    if (right) passed += 1;
    else failures.push(name);
  };
  try {
    const list = join(root, "secrets");
    const dir = join(root, "artifacts", "deep");
    mkdirSync(dir, { recursive: true });
    const raw = randomBytes(51);
    const token = `hp_${raw.toString("base64url")}`;
    const part = raw.subarray(16, 48);
    const password = `päss "wörd" + ${randomBytes(6).toString("hex")}`;
    writeFileSync(list, `${token}\n${password}\n`);
    const plant = (bytes, before = randomBytes(1000)) => {
      writeFileSync(join(dir, "file"), Buffer.concat([before, Buffer.from(bytes), randomBytes(1000)]));
      return search(list, join(root, "artifacts")).problems;
    };
    const planted = {
      "full token": token,
      "secret raw": part,
      "secret hex": part.toString("hex"),
      "secret upper-case hex": part.toString("hex").toUpperCase(),
      "secret base64": part.toString("base64"),
      "secret base64url": part.toString("base64url"),
      "token after one byte, base64": Buffer.from(`x${token}`).toString("base64"),
      "token after two bytes, base64url": Buffer.from(`xy${token}`).toString("base64url"),
      "secret after the id, base64": raw.subarray(0, 48).toString("base64"),
      "password": password,
      "password percent-encoded": encodeURIComponent(password),
      "password form-encoded": new URLSearchParams({ password }).toString(),
      "password in JSON": JSON.stringify({ password }),
      "password hex": Buffer.from(password).toString("hex"),
      "password in Basic credentials": Buffer.from(`ada@example.org:${password}`).toString("base64"),
    };
    for (const [name, bytes] of Object.entries(planted)) check(`not found: ${name}`, plant(bytes).length > 0);
    for (const before of [CHUNK - 40, CHUNK, CHUNK + 40, 2 * CHUNK - 20]) {
      check(`not found across a chunk at ${before}`, plant(token, Buffer.alloc(before)).length > 0);
    }
    check("not found at the very start of a file", plant(token, Buffer.alloc(0)).length > 0);
    for (const zeros of [1, 3, 4, 5, 4096]) {
      check(`not found after ${zeros} zeros`, plant(token, Buffer.alloc(zeros)).some((problem) => problem.endsWith("(full text)")));
      for (const first of [[0, 0, 0, 0, 0], [0, 0, 0, 1], [0, 1], [1]]) {
        const odd = Buffer.concat([Buffer.from(first), randomBytes(SECRET_BYTES - first.length)]);
        writeFileSync(list, `hp_${Buffer.concat([randomBytes(ID_BYTES), odd, randomBytes(3)]).toString("base64url")}\n`);
        check(`not found after ${zeros} zeros: a secret that begins with ${first}`, plant(odd, Buffer.alloc(zeros)).length > 0);
      }
      writeFileSync(list, `${token}\n${password}\n`);
    }
    writeFileSync(join(dir, "copy"), "x");
    writeFileSync(join(dir, "copy of it"), "x");
    check("cries over two clean files that are alike", plant("x").length === 0);
    writeFileSync(join(dir, "copy"), token);
    writeFileSync(join(dir, "copy of it"), token);
    const told = plant("x");
    check("not found in each of two files that are alike", ["copy", "copy of it"].every((name) => told.some((problem) => problem.startsWith(`deep/${name} byte`))));
    rmSync(join(dir, "copy"));
    rmSync(join(dir, "copy of it"));
    check("cries over a clean file", plant(randomBytes(64)).length === 0);
    check("cries over the public id", plant(raw.subarray(0, 16).toString("hex")).length === 0);
    writeFileSync(list, "");
    check("passes without secrets", plant("x").length > 0);
    writeFileSync(list, "short\n");
    check("passes with a secret too short to tell", plant("x").length > 0);
    check("passes without a list", search(join(root, "none"), join(root, "artifacts")).problems.length > 0);
    writeFileSync(list, `${token}\n`);
    rmSync(join(root, "artifacts"), { recursive: true });
    check("passes without a directory", search(list, join(root, "artifacts")).problems.length > 0);
    mkdirSync(dir, { recursive: true });
    check("passes with an empty directory", search(list, join(root, "artifacts")).problems.length > 0);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  for (const failure of failures) console.error(`find-secrets self-test: ${failure}`);
  console.log(`find-secrets self-test: ${passed} passed, ${failures.length} failed`);
  return failures.length === 0 ? 0 : 1;
}

const [first, second, ...rest] = process.argv.slice(2);
if (first === "--self-test" && second === undefined) {
  process.exitCode = selfTest();
} else if (first === undefined || second === undefined || rest.length > 0) {
  console.error("usage: find-secrets.mjs SECRETS_FILE ARTIFACTS_DIRECTORY | find-secrets.mjs --self-test");
  process.exitCode = 2;
} else {
  const { problems, secrets, files, size } = search(first, second);
  for (const problem of problems) console.error(`find-secrets: ${problem}`);
  const looked = `${secrets} secrets in ${files} files (${(size / 1e6).toFixed(1)} MB)`;
  console.log(problems.length === 0 ? `find-secrets: none of ${looked}` : `find-secrets: looked for ${looked}; not clean`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
