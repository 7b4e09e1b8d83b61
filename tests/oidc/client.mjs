// A browser without pages: cookies by origin, and redirects that are followed as far as a test wants.

import { request as httpRequest } from "node:http";
import { recordSecret } from "../browser/secrets.mjs";

const MS = 20_000;

/** One request with exactly these headers: `fetch` adds its own `Sec-Fetch-Mode`. */
export function send(target, { method, headers, body }) {
  return new Promise((done, failed) => {
    const request = httpRequest(target, { method, headers, signal: AbortSignal.timeout(MS) }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", failed);
      response.on("end", () => done({ response, text: Buffer.concat(parts).toString("utf8") }));
    });
    request.on("error", failed);
    request.end(body);
  });
}

export class Client {
  #jars = new Map();

  constructor(hallpass) {
    this.hallpass = hallpass;
  }

  jar(origin = this.hallpass.origin) {
    if (!this.#jars.has(origin)) this.#jars.set(origin, new Map());
    return this.#jars.get(origin);
  }

  /** Names of cookies that are a sign-in under way. */
  underWay() {
    return [...this.jar().keys()].filter((name) => name.startsWith("hallpass.sign-in."));
  }

  /** Names of cookies that are a sign-out under way. */
  leaving() {
    return [...this.jar().keys()].filter((name) => name.startsWith("hallpass.sign-out."));
  }

  get token() {
    return this.jar().get("session");
  }

  /** One request, no redirect followed. `body` is sent as a form, `json` as JSON. */
  async ask(url, { method = "GET", headers = {}, body, json: sent } = {}) {
    const target = new URL(url, this.hallpass.origin);
    const jar = this.jar(target.origin);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const content = sent ? JSON.stringify(sent) : body && `${new URLSearchParams(body)}`;
    const type = sent ? "application/json" : "application/x-www-form-urlencoded";
    const { response, text } = await send(target, {
      method,
      headers: { ...(cookie && { cookie }), ...(content && { "content-type": type, "content-length": Buffer.byteLength(content) }), ...headers },
      body: content,
    });
    for (const line of response.headers["set-cookie"] ?? []) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      const gone = /max-age=0|expires=thu, 01 jan 1970/i.test(line);
      if (gone || value === "") jar.delete(name);
      else jar.set(name, value);
      if (target.origin === this.hallpass.origin && name === "session" && !gone) recordSecret(value);
    }
    let json = null;
    try {
      json = JSON.parse(text);
    } catch {
      // A page.
    }
    const { location } = response.headers;
    return { status: response.statusCode, headers: response.headers, location: location && new URL(location, target).href, text, json };
  }

  async csrf() {
    return (await this.ask("/api/auth/csrf")).json.csrfToken;
  }

  /** Posts to hallpass as its own pages do, with the CSRF token. */
  async post(path, fields = {}, headers = {}) {
    const csrfToken = await this.csrf();
    return this.ask(path, {
      method: "POST",
      headers: { origin: this.hallpass.origin, ...headers },
      body: { csrfToken, ...fields },
    });
  }

  /** The provider's address, as a client of Auth.js learns it. */
  async begin(provider = "corp", { callbackUrl = "/", query = "", remember } = {}) {
    const answer = await this.post(`/api/auth/signin/${provider}${query}`, { callbackUrl, ...(remember && { remember }) }, { "x-auth-return-redirect": "1" });
    return answer.json.url;
  }

  /** Follows redirects at the provider until it sends back to hallpass; that address. */
  async authorize(address) {
    let at = address;
    for (let n = 0; n < 20; n += 1) {
      const answer = await this.ask(at);
      if (!answer.location) throw new Error(`${at} answers ${answer.status}\n${answer.text}`);
      at = answer.location;
      if (at.startsWith(this.hallpass.origin)) return at;
    }
    throw new Error("redirects without end");
  }

  /** A whole sign-in; hallpass's answer to what comes back. */
  async signIn(provider = "corp", options = {}) {
    return this.ask(await this.authorize(await this.begin(provider, options)));
  }

  /** Signs out as the client of Auth.js does; the address that it is told to go to. */
  async signOut(callbackUrl = "/", headers = {}) {
    return (await this.post("/api/auth/signout", { callbackUrl }, { "x-auth-return-redirect": "1", ...headers })).json?.url;
  }

  /** Answers the provider's question at `address` whether to sign out there, too; where the browser is sent then. */
  async confirmSignOut(address, yes = true) {
    const page = await this.ask(address);
    const xsrf = page.text.match(/name="xsrf" value="([^"]+)"/)?.[1];
    if (!xsrf) throw new Error(`${address} answers ${page.status}\n${page.text}`);
    const done = await this.ask(new URL("/session/end/confirm", address), { method: "POST", body: { xsrf, ...(yes && { logout: "yes" }) } });
    return done.location;
  }

  async signInWithPassword({ email, password }) {
    return this.post("/api/auth/callback/credentials", { email, password, callbackUrl: "/" });
  }

  /** Who hallpass says is signed in: an email address or null. */
  async who() {
    return (await this.ask("/api/auth/session")).json?.user?.email ?? null;
  }

  /** The sessions of who is signed in. */
  async sessions() {
    return (await this.ask("/api/sessions")).json;
  }
}

/** The error in the address of an answer. */
export function errorOf(answer) {
  return answer.location && new URL(answer.location).searchParams.get("error");
}
