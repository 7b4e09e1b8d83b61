// What GitHub does when somebody signs in with it, as far as a client sees.

import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";

const CLIENT = { client_id: "hallpass at github", client_secret: "a secret of github" };

/** Starts one. `user` and `emails` are what its API answers; `broken` names paths that answer 500. */
export async function startGithub() {
  const codes = new Map();
  const tokens = new Set();
  const github = {
    user: { id: 583231, login: "octocat", name: "The Octocat" },
    emails: [
      { email: "old@github.example", primary: false, verified: true },
      { email: "octocat@github.example", primary: true, verified: true },
    ],
    broken: [],
    presented: [],
    register() {},
  };
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://x");
    const json = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (github.broken.includes(url.pathname)) return json(500, {});
    switch (url.pathname) {
      case "/login/oauth/authorize": {
        const of = (name) => url.searchParams.get(name);
        const code = randomUUID();
        codes.set(code, { challenge: of("code_challenge"), redirect: of("redirect_uri") });
        const back = new URL(of("redirect_uri"));
        back.searchParams.set("code", code);
        back.searchParams.set("state", of("state"));
        github.asked = url.searchParams;
        return response.writeHead(302, { location: back.href }).end();
      }
      case "/login/oauth/access_token": {
        let body = "";
        for await (const part of request) body += part;
        const form = new URLSearchParams(body);
        github.presented.push(form.get("code"));
        const known = codes.get(form.get("code"));
        codes.delete(form.get("code"));
        const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
        if (form.get("client_id") !== CLIENT.client_id || form.get("client_secret") !== CLIENT.client_secret) {
          return json(200, { error: "incorrect_client_credentials" });
        }
        if (!known || known.challenge !== challenge || known.redirect !== form.get("redirect_uri")) {
          return json(200, { error: "bad_verification_code" });
        }
        const token = `gho_${randomUUID()}`;
        tokens.add(token);
        return json(200, { access_token: token, token_type: "bearer", scope: "read:user,user:email" });
      }
      case "/user":
      case "/user/emails": {
        const token = request.headers.authorization?.replace("Bearer ", "");
        if (!tokens.has(token) || !request.headers["user-agent"]) return json(401, {});
        return json(200, url.pathname === "/user" ? github.user : github.emails);
      }
      default:
        return json(404, {});
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${server.address().port}`;
  return Object.assign(github, {
    base,
    settings: {
      HALLPASS_PROVIDERS_GITHUB_KIND: "github",
      HALLPASS_PROVIDERS_GITHUB_NAME: "GitHub",
      HALLPASS_PROVIDERS_GITHUB_CLIENT_ID: CLIENT.client_id,
      HALLPASS_PROVIDERS_GITHUB_CLIENT_SECRET: CLIENT.client_secret,
      HALLPASS_PROVIDERS_GITHUB_AUTHORIZATION_URL: `${base}/login/oauth/authorize`,
      HALLPASS_PROVIDERS_GITHUB_TOKEN_URL: `${base}/login/oauth/access_token`,
      HALLPASS_PROVIDERS_GITHUB_USER_URL: `${base}/user`,
      HALLPASS_PROVIDERS_GITHUB_EMAILS_URL: `${base}/user/emails`,
      HALLPASS_PROVIDERS_GITHUB_SIGN_UP: "true",
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  });
}
