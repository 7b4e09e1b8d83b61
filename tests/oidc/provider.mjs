// A certified OpenID provider (oidc-provider) on loopback, and ways to make it lie, fail and change.

import { createServer } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { Provider } from "oidc-provider";

export const CLIENT_ID = "hallpass";
export const CLIENT_SECRET = "the provider's secret: for tests/only +1";

const seconds = () => Math.floor(Date.now() / 1000);

/** A key pair: the private one for signing, and its JWK. */
export async function newKey(kid, alg = "RS256") {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, kid, alg, jwk: { ...(await exportJWK(privateKey)), kid, alg, use: "sig" } };
}

/** Reads a JWT without checking anything. */
export function decode(token) {
  const [header, claims] = token.split(".").slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url")));
  return { header, claims };
}

/** A JWT with these claims and header: signed with `key`, or of the algorithm `none`. */
export function sign(claims, { key, header = {} }) {
  if (key) return new SignJWT(claims).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey, { crit: Object.fromEntries((header.crit ?? []).map((name) => [name, true])) });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none", ...header })}.${part(claims)}.`;
}

/**
 * Starts a provider that is reached as `http://HOST:PORT`. It knows no client before `register(origin, settings)`.
 *
 * `user` is who signs in: `{ sub, email, email_verified, name }`; `login` what the provider says of it: `{ acr, amr, ts }`. `deny` has the user say
 * no. `idToken` turns the claims and header of each ID token into another token; `down` names the paths that answer 500, or `hang` those that answer nothing;
 * `requests` counts requests by path. `tokenRequests` has the form of each.
 */
export async function startProvider({ host = "localhost", id = "corp" } = {}) {
  let oidc;
  let key = await newKey("key-1");
  const cookieKey = "a key of the provider's own cookies";
  const control = {
    id,
    name: "Corp & Sons",
    get key() {
      return key;
    },
    user: { sub: "alice", email: "alice@example.org", email_verified: true, name: "Alice" },
    login: {},
    deny: false,
    idToken: null,
    userInfo: null,
    metadata: null,
    down: [],
    hang: [],
    requests: {},
    tokenRequests: [],
    interactions: 0,
  };

  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    control.requests[path] = (control.requests[path] ?? 0) + 1;
    if (control.hang.includes(path)) return;
    if (control.down.includes(path) || !oidc) {
      response.writeHead(500).end();
      return;
    }
    try {
      if (path.startsWith("/interaction/")) await interact(request, response);
      else {
        if (path === "/.well-known/openid-configuration") change(response, (body) => ({ ...body, ...control.metadata }));
        if (path === "/token") change(response, forge);
        if (path === "/me") change(response, (body) => ({ ...body, ...control.userInfo }));
        await oidc.callback()(request, response);
      }
    } catch (error) {
      response.writeHead(500).end(`${error.stack}`);
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const issuer = `http://${host}:${server.address().port}`;

  /** Lets `make` change the JSON of an answer before it is sent. */
  function change(response, make) {
    const end = response.end.bind(response);
    response.end = (body, ...rest) => {
      if (!body || response.statusCode !== 200) return end(body, ...rest);
      Promise.resolve(make(JSON.parse(body))).then((changed) => {
        const text = JSON.stringify(changed);
        response.setHeader("content-length", Buffer.byteLength(text));
        end(text);
      });
      return response;
    };
  }

  async function forge(body) {
    if (!control.idToken || !body.id_token) return body;
    const { header, claims } = decode(body.id_token);
    return { ...body, id_token: await control.idToken(claims, header, body) };
  }

  /** The user signs in and agrees at once, or says no. */
  async function interact(request, response) {
    control.interactions += 1;
    const details = await oidc.interactionDetails(request, response);
    let result;
    if (control.deny) result = { error: "access_denied", error_description: "no" };
    else {
      const login = details.prompt.name === "login" ? { accountId: control.user.sub, ts: seconds(), ...control.login } : null;
      const grant = new oidc.Grant({ accountId: login?.accountId ?? details.session.accountId, clientId: details.params.client_id });
      grant.addOIDCScope("openid email profile");
      // Both at once: a sign-in is sent to this page only once.
      result = { ...(login && { login }), consent: { grantId: await grant.save() } };
    }
    await oidc.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  }

  function configure(client) {
    oidc = new Provider(issuer, {
      clients: [client],
      jwks: { keys: [key.jwk] },
      cookies: { keys: [cookieKey] },
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], acr: null, auth_time: null, amr: null },
      features: {
        devInteractions: { enabled: false },
        backchannelLogout: { enabled: true },
        rpInitiatedLogout: { enabled: true },
      },
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      pkce: { required: () => true },
      findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ ...control.user, sub }) }),
      acrValues: ["urn:test:low", "urn:test:high"],
      fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
    });
    oidc.on("server_error", (_, error) => (control.error = error));
    oidc.on("grant.error", (_, error) => (control.grantError = error));
    oidc.on("backchannel.error", (_, error) => (control.logoutError = error));
  }

  let registered;
  return Object.assign(control, {
    issuer,
    /** Makes hallpass at `origin` known here. */
    register(origin, more = {}) {
      registered = {
        client_id: CLIENT_ID,
        client_secret: CLIENT_SECRET,
        redirect_uris: [`${origin}/api/auth/callback/${id}`],
        post_logout_redirect_uris: [`${origin}/api/auth/signed-out`],
        response_types: ["code"],
        grant_types: ["authorization_code"],
        backchannel_logout_uri: `${origin}/api/auth/backchannel-logout/${id}`,
        backchannel_logout_session_required: true,
        ...more,
      };
      configure(registered);
    },
    /** Signs with another key from now on, and shows that one alone. */
    async rotate(kid) {
      key = await newKey(kid);
      configure(registered);
    },
    /** As the settings of hallpass. */
    settings: {
      [`HALLPASS_PROVIDERS_${id.toUpperCase()}_ISSUER`]: issuer,
      [`HALLPASS_PROVIDERS_${id.toUpperCase()}_CLIENT_ID`]: CLIENT_ID,
      [`HALLPASS_PROVIDERS_${id.toUpperCase()}_CLIENT_SECRET`]: CLIENT_SECRET,
      [`HALLPASS_PROVIDERS_${id.toUpperCase()}_NAME`]: control.name,
    },
    /** Everything as at the start. */
    calm() {
      Object.assign(control, {
        user: { sub: "alice", email: "alice@example.org", email_verified: true, name: "Alice" },
        login: {},
        deny: false,
        idToken: null,
        userInfo: null,
        metadata: null,
        down: [],
        hang: [],
      });
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  });
}
