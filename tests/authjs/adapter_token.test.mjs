// Tokens, options and what the package says when it is used wrongly.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { crc32 as zipCrc32, deflateRawSync } from "node:zlib";
import { createToken, hashToken, parseToken, withHallpass } from "hallpass-authjs-adapter";

/** CRC-32 by long division, another way than the package's: Node has one of its own since 22.2. */
function crc32(bytes) {
  if (zipCrc32) return zipCrc32(bytes);
  let rest = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit += 1) {
      const isOdd = ((rest ^ (byte >> bit)) & 1) === 1;
      rest >>>= 1;
      if (isOdd) rest ^= 0xedb88320;
    }
  }
  return ~rest >>> 0;
}

const bytesOf = (token) => Buffer.from(token.slice(3), "base64url");
const textOf = (bytes) => `hp_${bytes.toString("base64url")}`;

/** A token from its 48 bytes, as crates/hallpass-core/src/token.rs makes it. */
function tokenOf(payload) {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(payload));
  return textOf(Buffer.concat([payload, sum.subarray(0, 3)]));
}

describe("a token", () => {
  test("has the form of crates/hallpass-core/src/token.rs", async () => {
    const now = 1_764_337_783_123;
    const token = await createToken("alice", now);
    assert.match(token, /^hp_[A-Za-z0-9_-]{68}$/);
    const raw = bytesOf(token);
    assert.equal(raw.length, 51);
    assert.equal(raw.readUIntBE(0, 6), now, "48 bits of milliseconds");
    assert.equal(raw[6] >> 4, 7, "version 7");
    assert.equal(raw[8] >> 6, 2, "variant of RFC 9562");
    assert.equal(raw[15], createHash("sha256").update("alice").digest()[0], "the user's shard");
    assert.equal(raw.readUIntBE(48, 3), crc32(raw.subarray(0, 48)) >>> 8, "the upper bytes of the checksum");
    assert.equal(token, tokenOf(raw.subarray(0, 48)));
  });

  test("the checksum is CRC-32 of IEEE 802.3", () => {
    assert.equal(crc32(Buffer.from("123456789")), 0xcbf43926, "the check value of the catalogues");
    const payload = Buffer.alloc(48, 9);
    payload[6] = 0x79;
    payload[8] = 0x89;
    assert.notEqual(parseToken(tokenOf(payload)), null);
  });

  test("is of an id that sorts by time, and says no secret", async () => {
    const early = parseToken(await createToken(17, 1000));
    const late = parseToken(await createToken("17", 2000));
    assert.ok(early.id < late.id);
    assert.match(early.id, /^00000000-03e8-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(early.createdAt.getTime(), 1000);
    assert.equal(early.shard, late.shard, "a number and its text are the same user");
    assert.deepEqual(Object.keys(early), ["id", "createdAt", "shard"]);
  });

  test("is never the same twice, and has every kind of letter", async () => {
    const tokens = await Promise.all(Array.from({ length: 500 }, () => createToken("alice", 1000)));
    assert.equal(new Set(tokens).size, 500);
    assert.equal(new Set(tokens.map((token) => bytesOf(token).toString("hex", 16, 48))).size, 500);
    const secrets = Buffer.concat(tokens.map((token) => bytesOf(token).subarray(16, 48)));
    assert.ok(deflateRawSync(secrets).length >= secrets.length, "random bytes do not compress");
    assert.ok(tokens.join("").includes("-") && tokens.join("").includes("_"));
  });

  test("a damaged one, or a text that is none, is null", async () => {
    const token = await createToken("alice");
    const raw = bytesOf(token);
    for (let bit = 0; bit < 51 * 8; bit += 1) {
      const damaged = Buffer.from(raw);
      damaged[bit >> 3] ^= 1 << (bit & 7);
      assert.equal(parseToken(textOf(damaged)), null, `bit ${bit}`);
    }
    for (const bad of ["", "hp_", token.slice(0, 70), `${token}A`, `${token}=`, `${token}\n`, token.replace("hp_", "hq_"), token.replace(/.$/, "+"), null, undefined, 7]) {
      assert.equal(parseToken(bad), null);
    }
  });

  test("an id of another version does not say when it began", () => {
    const payload = Buffer.alloc(48, 1);
    for (const version of [1, 4, 6, 8]) {
      payload[6] = version << 4;
      payload[8] = 0x80;
      assert.equal(parseToken(tokenOf(payload)), null, `version ${version}`);
    }
    payload[6] = 0x70;
    payload[8] = 0xc0;
    assert.equal(parseToken(tokenOf(payload)), null, "another variant");
  });

  test("its hash is SHA-256 of the whole text, in lower-case hexadecimal", async () => {
    assert.equal(await hashToken("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // The same text and hash as in crates/hallpass-core/src/token.rs.
    assert.equal(await hashToken("5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b"), "b60cbaae12a69f4c2a3447ad75e9c041f32b417e379c239fc2afcb423719f3c8");
    await assert.rejects(() => hashToken(""), /hashToken: the token must be/);
    await assert.rejects(() => createToken(undefined), /createToken: userId is missing/);
    await assert.rejects(() => createToken("alice", 1.5), /createToken: now must be whole milliseconds/);
  });
});

describe("options", () => {
  const method = async () => null;
  const inner = { createSession: method, getSessionAndUser: method, updateSession: method, deleteSession: method };
  const says = (make, pattern) => assert.throws(make, (error) => error instanceof TypeError && pattern.test(error.message));

  test("that cannot be are refused with the name and what to write", () => {
    for (const [options, pattern] of [
      [{ hashed: true }, /unknown option "hashed"; known are hash, maxAge/],
      [{ hash: "yes" }, /hash must be true .* or false/],
      [{ maxAge: 0 }, /maxAge must be .*session\.maxAge/],
      [{ maxAge: "3600" }, /maxAge must be/],
      [{ maxAge: Infinity }, /maxAge must be/],
      [{ updateAge: -1 }, /updateAge must be .*session\.updateAge/],
      [{ updateAge: Number.NaN }, /updateAge must be/],
      [{ absoluteTimeout: 0 }, /absoluteTimeout must be .*"none" or Infinity/],
      [{ absoluteTimeout: null }, /absoluteTimeout must be/],
      [{ absoluteTimeout: false }, /absoluteTimeout must be/],
      [{ absoluteTimeout: -Infinity }, /absoluteTimeout must be/],
      [{ now: 5 }, /now must be a function/],
      [null, /second argument must be an object of options/],
      ["hash", /second argument must be an object of options/],
    ]) {
      says(() => withHallpass(inner, options), pattern);
    }
  });

  test("and adapters that keep no sessions, too", () => {
    says(() => withHallpass(), /first argument must be an adapter/);
    says(() => withHallpass(null), /first argument must be an adapter/);
    says(() => withHallpass({ ...inner, deleteSession: undefined }), /the adapter has no deleteSession/);
  });

  test("that are left out are Auth.js's own, and 90 days", async () => {
    const time = Date.now();
    const asked = [];
    const adapter = withHallpass({ ...inner, createSession: async (session) => (asked.push(session), session) }, { now: () => time });
    const end = new Date(time + 1e12);
    await adapter.createSession({ sessionToken: "x", userId: "1", expires: end });
    assert.equal(asked[0].expires.getTime(), time + 30 * 86_400_000);
    assert.match(asked[0].sessionToken, /^hp_/, "no hash unless asked for");
    const long = withHallpass({ ...inner, createSession: async (session) => (asked.push(session), session) }, { now: () => time, maxAge: 1e9 });
    await long.createSession({ sessionToken: "x", userId: "1", expires: end });
    assert.equal(asked[1].expires.getTime(), time + 90 * 86_400_000);
    for (const [age, isWritten] of [[86_399_000, false], [86_400_000, true]]) {
      const written = [];
      const token = await createToken("1", time - age);
      const session = { sessionToken: token, userId: "1", expires: new Date(time - age + 30 * 86_400_000) };
      const aged = { ...inner, getSessionAndUser: async () => ({ user: { id: "1" }, session }), updateSession: async (changes) => (written.push(changes), changes) };
      await withHallpass(aged, { now: () => time }).updateSession({ sessionToken: token, expires: end });
      assert.equal(written.length === 1, isWritten, `${age} ms after the last extension`);
    }
  });
});

describe("the wrapped adapter", () => {
  test("has the methods of the inner one, which go on calling each other, and no others for Auth.js to find", async () => {
    const calls = [];
    const inner = {
      label: "inner",
      createSession: async (session) => session,
      getSessionAndUser: async () => null,
      updateSession: async () => null,
      deleteSession: async (token) => void calls.push(token),
      async deleteUser(id) {
        await this.deleteSession(`a token of ${id} as the database has it`);
      },
    };
    const adapter = withHallpass(inner, { hash: true });
    assert.deepEqual(Object.keys(adapter).sort(), Object.keys(inner).sort());
    assert.equal(adapter.label, "inner");
    await adapter.deleteUser("7");
    assert.deepEqual(calls, ["a token of 7 as the database has it"]);
    assert.equal(typeof adapter.forRequest, "function");
    assert.equal(adapter.forRequest().forRequest, undefined);
  });

  test("an adapter without accounts has none in a request either", () => {
    const none = async () => null;
    const inner = { createSession: none, getSessionAndUser: none, updateSession: none, deleteSession: none };
    assert.deepEqual(Object.keys(withHallpass(inner).forRequest()).sort(), Object.keys(inner).sort());
  });

  test("an expiry that is no date is an error without the token in it", async () => {
    const token = "5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b";
    for (const expires of [undefined, null, "soon", new Date(Number.NaN)]) {
      const none = async () => null;
      const inner = { createSession: none, updateSession: none, deleteSession: none, getSessionAndUser: async () => ({ user: {}, session: { sessionToken: token, expires } }) };
      await assert.rejects(() => withHallpass(inner).getSessionAndUser(token), (error) => {
        assert.match(error.message, /`expires` that is no date/);
        return !error.message.includes(token);
      });
    }
  });
});
