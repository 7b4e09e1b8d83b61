// Auth.js as a front end would have it at /api/auth, on a socket of its own.

import { once } from "node:events";
import { createServer } from "node:http";
import { Auth } from "@auth/core";

/** `origin` is what browsers see. `link` is the last one that was to be sent by e-mail. */
export async function startFrontEnd(adapter, origin) {
  const frontEnd = { link: null };
  const config = {
    adapter,
    basePath: "/api/auth",
    secret: "a secret of the application that is in these tests",
    trustHost: true,
    session: { strategy: "database" },
    providers: [
      {
        id: "email",
        type: "email",
        name: "email",
        from: "app@example.com",
        server: {},
        maxAge: 60,
        sendVerificationRequest({ url }) {
          frontEnd.link = url;
        },
      },
    ],
    logger: { error() {}, warn() {}, debug() {} },
  };
  const server = createServer(async (request, response) => {
    const { method, headers } = request;
    const { host, cookie = "", "content-type": type } = headers;
    const parts = [];
    for await (const part of request) parts.push(part);
    const sent = { method, headers: { host, cookie, ...(type && { "content-type": type }) }, ...(parts.length > 0 && { body: Buffer.concat(parts) }) };
    const answer = await Auth(new Request(`${origin}${request.url}`, sent), config);
    const cookies = answer.headers.getSetCookie();
    response.writeHead(answer.status, { ...Object.fromEntries(answer.headers), ...(cookies.length > 0 && { "set-cookie": cookies }) });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  frontEnd.url = `http://127.0.0.1:${server.address().port}`;
  frontEnd.close = () => new Promise((done) => server.close(done).closeAllConnections());
  return frontEnd;
}
