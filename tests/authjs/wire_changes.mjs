// Changes of an answer as `shown` gives it, of which the differences are made.

export const without = (answer, unwanted) => ({ ...answer, cookies: answer.cookies.filter((cookie) => !unwanted.test(cookie)) });
export const withCookies = (answer, change) => ({ ...answer, cookies: answer.cookies.map(change).sort() });
export const attributes = (cookie, change) => {
  const [pair, ...rest] = cookie.split("; ");
  return [pair, ...change(rest).sort()].join("; ");
};
/** A cookie with the attributes that all have, and `more`. */
export const cookieOf = (pair, isSecure, ...more) =>
  attributes(pair, () => ["HttpOnly", "Path=/", "SameSite=Lax", ...(isSecure ? ["Secure"] : []), ...more]);
export const sessionOf = (value, isSecure, ...more) => cookieOf(`${isSecure ? "__Host-" : ""}session=${value}`, isSecure, ...more);

/** Another address, wherever the answer names one. */
export const to = (answer, address) => ({
  ...answer,
  location: answer.location && address,
  body: answer.body?.url ? { url: address } : answer.body,
});
export const redirect = (answer, location) => ({ ...answer, status: 302, body: "", "content-type": "", location });
export const BAD_REQUEST = { status: 400, body: "Bad request.", "content-type": "application/json", "cache-control": "", location: "", cookies: [] };
export const isPage = (answer) => answer.body === "<page>";

export const isRead = (path) => path.endsWith("/session");
