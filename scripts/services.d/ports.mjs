// Free ports on 127.0.0.1, below the range from which the kernel serves outgoing connections: a port that is closed for a
// while (a killed server, a proxy that refuses) is not given to somebody's connection meanwhile.

import { createServer } from "node:net";
import { Problem } from "./problem.mjs";

const FIRST = 20_000;
const COUNT = 12_000;
const TRIES = 200;
const given = new Set();

const free = (port) =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });

/** A port that nothing listens on now and that this process has not given out before. */
export async function freePort() {
  for (let tried = 0; tried < TRIES; tried += 1) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (given.has(port)) continue;
    if (await free(port)) {
      given.add(port);
      return port;
    }
  }
  throw new Problem(`no free port among ${TRIES} tried on 127.0.0.1 from ${FIRST} to ${FIRST + COUNT - 1}`);
}
