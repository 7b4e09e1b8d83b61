// An answer as it is compared: names and attributes of cookies, and of all that is new each time what it is.

const COMPARED = ["content-type", "cache-control", "pragma", "expires", "location"];
export const DAY = 86_400_000;

export function linesOf(answer, name) {
  return answer.headers.filter(([other]) => other === name).map(([, value]) => value);
}

const days = (ms) => Number((ms / DAY).toFixed(1));

/** A moment by its distance from now, so that one that has moved shows. */
export const daysFromNow = (ms) => days(ms - Date.now());
const distance = (text) => `<${daysFromNow(Date.parse(text))} days from now>`;

/** An attribute of a cookie, without what is new each time. */
function plainAttribute(text) {
  return text
    .replace(/^Expires=(?!Thu, 01 Jan 1970)(.*)/, (_, time) => `Expires=${distance(time)}`)
    .replace(/^Max-Age=(\d{6,})$/, (_, seconds) => `Max-Age=<${days(seconds * 1_000)} days>`);
}

/** An address of a provider has parameters that are random, and none whose order says something. */
function plainAddress(text) {
  if (!text.includes("code_challenge=")) return text;
  const url = new URL(text);
  for (const name of ["state", "nonce", "code_challenge"]) if (url.searchParams.has(name)) url.searchParams.set(name, "<random>");
  url.searchParams.sort();
  return url.href;
}

/** A text without what is random. */
function plain(text) {
  return text
    .replace(/https?:\/\/[^"\s]+/g, plainAddress)
    .replace(/[0-9a-f]{64}/g, "<64 hex>")
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, distance);
}

/** What a cookie's value is. `tokens` were the browser's before. */
function kind(name, value, tokens) {
  if (value === "") return "";
  if (name.includes("session")) return tokens.has(value) ? "<the same token>" : value.startsWith("eyJ") ? "<signed token>" : "<token>";
  if (/csrf-token|callback-url/.test(name)) return plain(decodeURIComponent(value));
  return "<random>";
}

/** An answer as `Browser.ask` gives it. */
export function shown(answer) {
  const headers = COMPARED.map((name) => [name, plain(linesOf(answer, name).join(", "))]);
  const cookies = linesOf(answer, "set-cookie").map((line) => {
    const [pair, ...attributes] = line.split("; ");
    const [name, value] = pair.split(/=(.*)/s);
    const named = name.replace(/^((?:__Host-)?hallpass\.sign-in\.)[0-9a-f]{16}$/, "$1<16 hex>");
    return [`${named}=${kind(name, value, answer.asked.tokens)}`, ...attributes.map(plainAttribute).sort()].join("; ");
  });
  const [type = ""] = linesOf(answer, "content-type");
  const text = type.startsWith("text/html") ? "<page>" : plain(answer.body);
  const body = type.startsWith("application/json") && text !== "" ? JSON.parse(text) : text;
  return { status: answer.status, body, ...Object.fromEntries(headers), cookies: cookies.sort() };
}
