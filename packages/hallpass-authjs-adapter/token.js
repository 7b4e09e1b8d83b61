// The bearer token, in the form that hallpass gives it: `hp_` and base64url without padding of
//
//   16 bytes   the session's id: a UUIDv7 (RFC 9562, section 5.7), whose last byte is the first of SHA-256 of the user's id
//   32 bytes   random
//    3 bytes   the upper bytes of CRC-32 over the 48 bytes before
//
// 51 bytes fill 68 characters exactly, so a token has one spelling.

const PREFIX = "hp_";
const ID_BYTES = 16;
const PAYLOAD_BYTES = 48;
const RAW_BYTES = 51;
const FORM = /^hp_[A-Za-z0-9_-]{68}$/;

const utf8 = new TextEncoder();

// CRC-32 as IEEE 802.3 and zip have it, bit-reversed: WebCrypto has none.
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit += 1) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = CRC_TABLE[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return ~sum >>> 0;
}

function checksum(payload) {
  const sum = crc32(payload);
  return [sum >>> 24, (sum >>> 16) & 0xff, (sum >>> 8) & 0xff];
}

async function sha256(text) {
  return new Uint8Array(await globalThis.crypto.subtle.digest("SHA-256", utf8.encode(text)));
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * What the database holds of a token with `hash: true`: lower-case hex of SHA-256 over the token's whole text, whatever
 * its form.
 */
export async function hashToken(token) {
  if (typeof token !== "string" || token === "") throw new TypeError("hashToken: the token must be a text that is not empty");
  return hex(await sha256(token));
}

/** A new token for a session of `userId` that begins `now` (milliseconds since 1970). */
export async function createToken(userId, now = Date.now()) {
  if (userId === undefined || userId === null || userId === "") throw new TypeError("createToken: userId is missing");
  if (!Number.isSafeInteger(now) || now < 0 || now >= 2 ** 48) throw new TypeError("createToken: now must be whole milliseconds since 1970");
  const raw = new Uint8Array(RAW_BYTES);
  globalThis.crypto.getRandomValues(raw);
  for (let index = 0; index < 6; index += 1) raw[index] = Math.floor(now / 2 ** (8 * (5 - index))) & 0xff;
  raw[6] = 0x70 | (raw[6] & 0x0f);
  raw[8] = 0x80 | (raw[8] & 0x3f);
  raw[ID_BYTES - 1] = (await sha256(String(userId)))[0];
  raw.set(checksum(raw.subarray(0, PAYLOAD_BYTES)), PAYLOAD_BYTES);
  return PREFIX + btoa(String.fromCharCode(...raw)).replaceAll("+", "-").replaceAll("/", "_");
}

/** The public half of a token (`id`, `createdAt`, `shard`), or null when the text is no token of this form. */
export function parseToken(token) {
  if (typeof token !== "string" || !FORM.test(token)) return null;
  const text = atob(token.slice(PREFIX.length).replaceAll("-", "+").replaceAll("_", "/"));
  const raw = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const expected = checksum(raw.subarray(0, PAYLOAD_BYTES));
  if (expected.some((byte, index) => byte !== raw[PAYLOAD_BYTES + index])) return null;
  // Another version of UUID does not say when it was made.
  if (raw[6] >>> 4 !== 7 || raw[8] >>> 6 !== 2) return null;
  let millis = 0;
  for (const byte of raw.subarray(0, 6)) millis = millis * 256 + byte;
  const id = hex(raw.subarray(0, ID_BYTES)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  return { id, createdAt: new Date(millis), shard: raw[ID_BYTES - 1] };
}

/** Looks like a token of this form and is none: damaged, or matched by a database that compares without case. */
export function isDamaged(token) {
  return FORM.test(token) && parseToken(token) === null;
}
