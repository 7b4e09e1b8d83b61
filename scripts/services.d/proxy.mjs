// A TCP proxy in front of one server, so that the way to it can be cut without touching it.

import { connect, createServer } from "node:net";
import { freePort } from "./ports.mjs";

const LISTEN_TRIES = 20;

/** What a cut does to connections: `pass` is none. */
export const CUTS = {
  pass: "connections pass",
  // New connections are accepted and hang, bytes on the way wait; after mending everything goes on, as after a lost route.
  "black-hole": "nothing passes either way",
  // New connections are refused by the kernel, the open ones reset.
  refuse: "refused and reset",
  // Requests arrive and are carried out; nobody hears of it.
  "lose-answers": "requests pass, answers wait",
};

export class Proxy {
  #server;
  #pairs = new Set();
  #target;
  #down = false;
  cut = "pass";
  port = 0;

  /** `target` is what has the `port` to connect to: a member of the instance. */
  constructor(target) {
    this.#target = target;
  }

  get target() {
    return this.#target;
  }

  async open() {
    for (let tried = 1; ; tried += 1) {
      this.port = await freePort();
      try {
        await this.#listen();
        return this;
      } catch (error) {
        if (error.code !== "EADDRINUSE" || tried === LISTEN_TRIES) throw error;
      }
    }
  }

  /** Changes what the cut is. */
  async set(cut) {
    this.cut = cut;
    await this.#apply();
  }

  /** The server behind died (true) or was started: without one the port refuses like the server's own would. */
  async down(down) {
    this.#down = down;
    await this.#apply();
  }

  /** From now on connections go to another member; the open ones are reset. */
  retarget(target) {
    this.#target = target;
    this.#reset();
  }

  async close() {
    this.#reset();
    await this.#unlisten();
  }

  async #apply() {
    if (this.cut === "refuse" || this.#down) {
      await this.close();
    } else {
      await this.#listen();
      for (const pair of this.#pairs) this.#flow(pair);
    }
  }

  #reset() {
    for (const pair of this.#pairs) {
      pair.client.resetAndDestroy();
      pair.server?.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  #listen() {
    if (this.#server !== undefined) return undefined;
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => this.#accept(client));
      server.once("error", reject);
      server.listen({ port: this.port, host: "127.0.0.1", exclusive: true, backlog: 511 }, () => {
        this.#server = server;
        resolve();
      });
    });
  }

  #unlisten() {
    const server = this.#server;
    this.#server = undefined;
    return server === undefined ? undefined : new Promise((resolve) => server.close(resolve));
  }

  #accept(client) {
    const pair = { client, server: undefined, full: new Set() };
    this.#pairs.add(pair);
    client.on("error", () => this.#drop(pair));
    client.on("close", () => this.#drop(pair));
    this.#flow(pair);
  }

  #drop(pair) {
    if (!this.#pairs.delete(pair)) return;
    // An abrupt end on one side is one on the other; an orderly one has been passed on already.
    for (const socket of [pair.client, pair.server]) {
      if (socket !== undefined && !socket.destroyed) socket.resetAndDestroy();
    }
  }

  #flow(pair) {
    const requests = this.cut === "pass" || this.cut === "lose-answers";
    if (requests && pair.server === undefined) this.#connect(pair);
    this.#gate(pair, pair.client, pair.server, requests);
    this.#gate(pair, pair.server, pair.client, this.cut === "pass");
  }

  #gate(pair, from, to, open) {
    if (from === undefined || to === undefined || from.destroyed) return;
    if (open && !pair.full.has(to)) from.resume();
    else from.pause();
  }

  #connect(pair) {
    const server = connect({ port: this.#target.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    pair.server = server;
    server.on("error", () => this.#drop(pair));
    server.on("close", () => this.#drop(pair));
    for (const [from, to] of [
      [pair.client, server],
      [server, pair.client],
    ]) {
      from.on("data", (bytes) => {
        if (to.destroyed) return;
        if (!to.write(bytes)) {
          pair.full.add(to);
          from.pause();
        }
      });
      from.on("end", () => to.end());
      to.on("drain", () => {
        pair.full.delete(to);
        this.#flow(pair);
      });
    }
  }
}
