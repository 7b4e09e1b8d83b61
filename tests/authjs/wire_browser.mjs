// One browser: keeps the cookies that it is told to keep, and sends them back.

import { recordSecret } from "../browser/secrets.mjs";
import { Client } from "../oidc/client.mjs";
import { linesOf } from "./wire_answer.mjs";

export class Browser {
  cookies = new Map();
  /** Every session cookie that it was sent. */
  tokens = new Set();
  #elsewhere;

  /** `peer` answers for `origin`: `ask({ method, path, headers, body })`, and `sessionCookie`, the name of that cookie. */
  constructor(peer, origin) {
    this.peer = peer;
    this.origin = origin;
    this.leaveProvider();
  }

  /**
   * What a request was, for those who compare its answer: `tokens`, the session cookies that this browser was sent before; `token`, whether it sends one of
   * them under the cookie's own name (undefined: nothing is sent there); `longerName`, whether it sends a cookie whose name begins as that.
   */
  #asked(method, path, form = {}) {
    const url = new URL(path, this.origin);
    const name = this.peer.sessionCookie;
    return {
      method,
      path: url.pathname,
      query: url.searchParams,
      form,
      tokens: new Set(this.tokens),
      token: this.token && this.tokens.has(this.token),
      longerName: [...this.cookies.keys()].some((other) => other.startsWith(name) && other !== name),
    };
  }

  /** The answer, with what was `asked`. */
  async ask(method, path, { form, json, headers = {} } = {}) {
    const sent = { origin: this.origin, ...headers };
    if (this.cookies.size > 0) sent.cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    let body;
    if (form) {
      sent["content-type"] = "application/x-www-form-urlencoded";
      body = new URLSearchParams(form).toString();
    } else if (json) {
      sent["content-type"] = "application/json";
      body = JSON.stringify(json);
    }
    const asked = this.#asked(method, path, form);
    const answer = await this.peer.ask({ method, path, headers: sent, body });
    for (const line of linesOf(answer, "set-cookie")) {
      const [pair] = line.split(";", 1);
      const [name, value] = pair.split(/=(.*)/s);
      if (value === "") this.cookies.delete(name);
      else this.cookies.set(name, value);
      if (name === this.peer.sessionCookie && value !== "") this.tokens.add(value);
      if (value.startsWith("hp_")) recordSecret(value);
    }
    return { ...answer, asked };
  }

  /** The token of the forms, as a client gets it. */
  async csrf() {
    return JSON.parse((await this.ask("GET", "/api/auth/csrf")).body).csrfToken;
  }

  /** The session cookie. */
  get token() {
    return this.cookies.get(this.peer.sessionCookie);
  }

  /** Sends these cookies from now on in place of the session cookie: `make(name, token)` gives pairs. */
  replaceToken(make) {
    const { sessionCookie: name } = this.peer;
    const { token } = this;
    this.cookies.delete(name);
    for (const [other, value] of make(name, token)) this.cookies.set(other, value);
  }

  /** Nobody is signed in at the provider any more. */
  leaveProvider() {
    this.#elsewhere = new Client({ origin: this.origin });
  }

  /** Goes to a provider, where the user does what the provider's test double says; the path and query to which it sends back. */
  async visit(address) {
    const { pathname, search } = new URL(await this.#elsewhere.authorize(address));
    return pathname + search;
  }
}
