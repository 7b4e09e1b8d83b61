// An OAuth 2 server that knows nothing of OpenID Connect: an authorization endpoint, a token endpoint, and one that describes the user.

import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";

const CLIENT = { client_id: "hallpass at plain", client_secret: "the plain server's secret, for tests only" };

/** Starts one. `user` is what describes the user; `answers` has what paths answer instead, as `[status, body]`. `asked` has the last request to authorize, `exchanges` the form of each code. */
export async function startOAuth2() {
  const codes = new Map();
  const tokens = new Set();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://x");
    const json = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (plain.answers[url.pathname]) return json(...plain.answers[url.pathname]);
    switch (`${request.method} ${url.pathname}`) {
      case "GET /authorize": {
        plain.asked = Object.fromEntries(url.searchParams);
        const code = randomUUID();
        codes.set(code, plain.asked);
        const back = new URL(plain.asked.redirect_uri);
        back.searchParams.set("code", code);
        back.searchParams.set("state", plain.asked.state);
        return response.writeHead(302, { location: back.href }).end();
      }
      case "POST /token": {
        let body = "";
        for await (const part of request) body += part;
        const form = Object.fromEntries(new URLSearchParams(body));
        plain.exchanges.push(form);
        const begun = codes.get(form.code);
        codes.delete(form.code);
        if (form.client_id !== CLIENT.client_id || form.client_secret !== CLIENT.client_secret) return json(401, { error: "invalid_client" });
        const challenge = createHash("sha256").update(form.code_verifier ?? "").digest("base64url");
        const sound = form.grant_type === "authorization_code" && begun?.redirect_uri === form.redirect_uri && begun?.code_challenge === challenge;
        if (!sound) return json(400, { error: "invalid_grant" });
        const token = randomUUID();
        tokens.add(token);
        return json(200, { access_token: token, token_type: "Bearer", expires_in: 60, refresh_token: "not to be kept" });
      }
      case "GET /userinfo":
        if (!tokens.has(request.headers.authorization?.match(/^Bearer (.+)$/)?.[1])) return json(401, { error: "invalid_token" });
        return json(200, plain.user);
      default:
        return json(404, {});
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${server.address().port}`;
  const plain = {
    base,
    user: {},
    answers: {},
    exchanges: [],
    register() {},
    settings: {
      HALLPASS_PROVIDERS_PLAIN_KIND: "oauth2",
      HALLPASS_PROVIDERS_PLAIN_NAME: "Plain",
      HALLPASS_PROVIDERS_PLAIN_CLIENT_ID: CLIENT.client_id,
      HALLPASS_PROVIDERS_PLAIN_CLIENT_SECRET: CLIENT.client_secret,
      HALLPASS_PROVIDERS_PLAIN_SCOPES: "profile email",
      HALLPASS_PROVIDERS_PLAIN_AUTHORIZATION_URL: `${base}/authorize`,
      HALLPASS_PROVIDERS_PLAIN_TOKEN_URL: `${base}/token`,
      HALLPASS_PROVIDERS_PLAIN_USER_URL: `${base}/userinfo`,
      HALLPASS_PROVIDERS_PLAIN_SIGN_UP: "true",
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  return plain;
}
