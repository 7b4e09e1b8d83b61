// One browser in front of Auth.js 5 or next-auth 4 with a database, and the two ways to sign in that a database knows: a provider (OAuth 2, which
// answers on this machine) and a link by e-mail.

import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Auth } from "@auth/core";

const ORIGIN = "https://app.example";
const BASE = "/api/auth";
const SECRET = "a secret of the application that is in these tests";
const HERE = join(dirname(fileURLToPath(import.meta.url)), "..");
// The package exports its entrance for Next.js alone.
const { AuthHandler } = createRequire(import.meta.url)(join(HERE, "node_modules", "next-auth-4", "core", "index.js"));

/** Gives everybody the profile `next`, whatever code is brought to it. */
export async function startProvider() {
  const server = createServer((request, response) => {
    request.resume();
    const path = new URL(request.url, "http://localhost").pathname;
    const answer = path === "/token" ? { access_token: "a", token_type: "Bearer" } : provider.next;
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const provider = { origin, next: null, close: () => new Promise((done) => server.close(done).closeAllConnections()) };
  return provider;
}

const CORES = {
  "Auth.js 5": {
    sessionCookie: "__Secure-authjs.session-token",
    async answer(request, config) {
      const response = await Auth(request, config);
      const cookies = response.headers.getSetCookie().map((line) => {
        const [pair, ...attributes] = line.split("; ");
        const [name, value] = pair.split(/=(.*)/s);
        const at = attributes.find((one) => one.startsWith("Expires="));
        return { name, value: decodeURIComponent(value), expires: at && new Date(at.slice("Expires=".length)) };
      });
      return { location: response.headers.get("location"), text: await response.text(), cookies };
    },
  },
  "next-auth 4": {
    sessionCookie: "__Secure-next-auth.session-token",
    async answer(request, config) {
      process.env.NEXTAUTH_URL = ORIGIN;
      const { pathname, searchParams } = new URL(request.url);
      const [action, providerId] = pathname.slice(BASE.length + 1).split("/");
      const pairs = (request.headers.get("cookie") ?? "").split("; ").filter(Boolean).map((pair) => pair.split(/=(.*)/s));
      const req = {
        action,
        providerId,
        method: request.method,
        headers: Object.fromEntries(request.headers),
        query: Object.fromEntries(searchParams),
        cookies: Object.fromEntries(pairs.map(([name, value]) => [name, decodeURIComponent(value)])),
        body: request.method === "POST" ? Object.fromEntries(new URLSearchParams(await request.text())) : undefined,
      };
      const { redirect, body, cookies = [] } = await AuthHandler({ req, options: config });
      return {
        location: redirect,
        text: typeof body === "string" ? body : JSON.stringify(body),
        cookies: cookies.map(({ name, value, options }) => ({ name, value, expires: options.expires })),
      };
    },
  },
};

export const VERSIONS = Object.keys(CORES);

/** A browser. `makeAdapter` is called for each request, as the configuration that an application gives as a function is. */
export class Visitor {
  cookies = new Map();
  errors = [];

  constructor(version, provider, makeAdapter) {
    this.core = CORES[version];
    this.provider = provider;
    this.makeAdapter = makeAdapter;
  }

  config() {
    const { origin } = this.provider;
    const oauth = (id) => ({
      id,
      name: id,
      type: "oauth",
      clientId: "an-id",
      clientSecret: "a-secret",
      authorization: { url: `${origin}/authorize`, params: { scope: "profile" } },
      token: `${origin}/token`,
      userinfo: `${origin}/userinfo`,
      checks: ["state"],
      profile: ({ sub, name, email }) => ({ id: sub, name, email, image: null }),
    });
    const email = {
      id: "email",
      name: "email",
      type: "email",
      from: "app@example.com",
      server: {},
      maxAge: 3600,
      sendVerificationRequest: ({ url }) => void (this.link = url),
    };
    return {
      adapter: this.makeAdapter(),
      basePath: BASE,
      secret: SECRET,
      trustHost: true,
      useSecureCookies: true,
      session: { strategy: "database" },
      providers: [oauth("corp"), oauth("second"), email],
      logger: { error: (...args) => void this.errors.push(args), warn() {}, debug() {} },
    };
  }

  async ask(method, path, form) {
    const url = new URL(path, ORIGIN);
    const headers = { host: url.host, "x-forwarded-proto": "https", "x-forwarded-host": url.host };
    if (this.cookies.size > 0) headers.cookie = [...this.cookies].map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("; ");
    if (form) headers["content-type"] = "application/x-www-form-urlencoded";
    const body = form && new URLSearchParams(form).toString();
    const answer = await this.core.answer(new Request(url, { method, headers, body }), this.config());
    for (const { name, value, expires } of answer.cookies) {
      if (value === "") this.cookies.delete(name);
      else this.cookies.set(name, value);
      if (name === this.core.sessionCookie) this.expires = expires;
    }
    return answer;
  }

  get token() {
    return this.cookies.get(this.core.sessionCookie);
  }

  /** A browser forgets a cookie that is over. */
  get isSignedIn() {
    return this.token !== undefined && this.expires > new Date();
  }

  async session() {
    const session = JSON.parse((await this.ask("GET", `${BASE}/session`)).text);
    return session?.user ? session : null;
  }

  async post(path, form = {}) {
    const { csrfToken } = JSON.parse((await this.ask("GET", `${BASE}/csrf`)).text);
    return this.ask("POST", `${BASE}/${path}`, { csrfToken, callbackUrl: `${ORIGIN}/`, ...form });
  }

  /** Answers where the browser is sent. */
  async signInByProvider(profile, id = "corp") {
    this.provider.next = profile;
    const { location } = await this.post(`signin/${id}`);
    const state = new URL(location).searchParams.get("state");
    return (await this.ask("GET", `${BASE}/callback/${id}?${new URLSearchParams({ code: "a-code", state })}`)).location;
  }

  async signInByEmail(email) {
    await this.post("signin/email", { email });
    const { pathname, search } = new URL(this.link);
    return (await this.ask("GET", pathname + search)).location;
  }

  signOut() {
    return this.post("signout");
  }
}
