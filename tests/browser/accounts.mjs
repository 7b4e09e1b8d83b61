// Accounts made by the command line, and signing in: through the page as people do, or over HTTP as a program does.

import assert from "node:assert/strict";
import { newPassword, recordSecret } from "./secrets.mjs";

const COOKIE = "session";
let made = 0;

/** Adds an account with `hallpass user add`; resolves to { email, name, password }. */
export async function addAccount(server, { name = "Ada Lovelace", operator = false } = {}) {
  made += 1;
  const account = { email: `person${made}@example.org`, name, password: newPassword() };
  const args = ["user", "add", account.email, "--name", name, "--password-stdin"];
  if (operator) args.push("--operator");
  const { code, stdout, stderr } = await server.run(args, { input: `${account.password}\n` });
  assert.equal(code, 0, `hallpass user add: ${stdout}${stderr}`);
  return account;
}

/** The session token that the device holds, or undefined. */
export async function tokenOf(device) {
  const cookies = await device.context.cookies();
  return cookies.find((cookie) => cookie.name === COOKIE)?.value;
}

/** Signs in through the page and ends on `to`. */
export async function signIn(device, account, { to = "/sessions", remember = false } = {}) {
  const { page } = device;
  await page.goto(`/signin?callbackUrl=${encodeURIComponent(to)}`);
  await page.getByLabel("Email").fill(account.email);
  await page.getByLabel("Password", { exact: true }).fill(account.password);
  if (remember) await page.getByLabel("Remember me").check();
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => url.pathname === to);
  const token = await tokenOf(device);
  assert.ok(token, "a sign-in sets the session cookie");
  recordSecret(token);
  return token;
}

/** The `name=value` pairs of an answer's Set-Cookie lines. */
function cookiesOf(response) {
  return response.headers
    .getSetCookie()
    .map((line) => line.split(";", 1)[0])
    .filter((pair) => !pair.endsWith("="));
}

/** Signs in over HTTP with any user agent; resolves to the Cookie header of the new session. */
export async function signInByHttp(server, account, userAgent) {
  const headers = { "user-agent": userAgent, "sec-fetch-site": "same-origin", origin: server.origin };
  const timeout = () => AbortSignal.timeout(15_000);
  const csrf = await fetch(`${server.origin}/api/auth/csrf`, { headers, signal: timeout() });
  const { csrfToken } = await csrf.json();
  const response = await fetch(`${server.origin}/api/auth/callback/credentials`, {
    method: "POST",
    redirect: "manual",
    headers: { ...headers, cookie: cookiesOf(csrf).join("; ") },
    body: new URLSearchParams({ csrfToken, callbackUrl: "/", email: account.email, password: account.password }),
    signal: timeout(),
  });
  await response.body?.cancel();
  const session = cookiesOf(response).find((pair) => pair.startsWith(`${COOKIE}=`));
  assert.ok(session, `sign-in over HTTP answered ${response.status} without a session`);
  recordSecret(session.slice(COOKIE.length + 1));
  return session;
}

/** What the API lists for a Cookie header or a device. */
export async function listSessions(server, cookie) {
  const response = await fetch(`${server.origin}/api/sessions`, { headers: { cookie }, signal: AbortSignal.timeout(15_000) });
  return { status: response.status, sessions: response.ok ? await response.json() : [] };
}
