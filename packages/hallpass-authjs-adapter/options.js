// What an application says, checked once at start-up.

const DAY = 86_400;
const KNOWN = ["hash", "maxAge", "updateAge", "absoluteTimeout", "now"];
const METHODS = ["createSession", "getSessionAndUser", "updateSession", "deleteSession"];

const isSeconds = (value) => typeof value === "number" && Number.isFinite(value);

function refuse(message) {
  throw new TypeError(`hallpass-authjs-adapter: ${message}`);
}

/** The rules in milliseconds. */
export function rulesOf(options) {
  if (options === null || typeof options !== "object") refuse("the second argument must be an object of options, such as { hash: true }");
  for (const name of Object.keys(options)) {
    if (!KNOWN.includes(name)) refuse(`unknown option "${name}"; known are ${KNOWN.join(", ")}`);
  }
  // The first three are Auth.js's own defaults, and hallpass's.
  const { hash = false, maxAge = 30 * DAY, updateAge = DAY, absoluteTimeout = 90 * DAY, now = Date.now } = options;
  if (typeof hash !== "boolean") refuse("hash must be true (the database keeps hashes of tokens) or false");
  if (!isSeconds(maxAge) || maxAge <= 0) refuse("maxAge must be a number of seconds above 0: give it the value of session.maxAge");
  if (!isSeconds(updateAge) || updateAge < 0) refuse("updateAge must be a number of seconds, 0 or more: give it the value of session.updateAge");
  const isEndless = absoluteTimeout === "none" || absoluteTimeout === Infinity;
  if (!isEndless && (!isSeconds(absoluteTimeout) || absoluteTimeout <= 0)) {
    refuse('absoluteTimeout must be a number of seconds above 0; for sessions without an end say "none" or Infinity');
  }
  if (typeof now !== "function") refuse("now must be a function that returns milliseconds since 1970, as Date.now does");
  return {
    hash,
    maxAge: maxAge * 1000,
    updateAge: updateAge * 1000,
    absoluteTimeout: isEndless ? Infinity : absoluteTimeout * 1000,
    now: () => Math.floor(now()),
  };
}

export function checkAdapter(adapter) {
  if (adapter === null || typeof adapter !== "object") refuse("the first argument must be an adapter of Auth.js, such as PrismaAdapter(prisma)");
  for (const name of METHODS) {
    if (typeof adapter[name] !== "function") refuse(`the adapter has no ${name}: sessions need an adapter for a database ("database" strategy)`);
  }
}
