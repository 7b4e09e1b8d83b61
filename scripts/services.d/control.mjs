// How a command reaches the process that holds an instance: one line of JSON each way over a socket in the instance's directory.

import { createServer, connect } from "node:net";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { readNote, SOCKET } from "./instance.mjs";
import { Problem } from "./problem.mjs";
import { alive } from "./processes.mjs";

const MOST_BYTES = 65_536;
const ANSWER_MS = 150_000;

const VERBS = {
  status: async (instance) => instance.report(),
  kill: async (instance, { member }) => (await instance.kill(member), instance.report()),
  freeze: async (instance, { member }) => (await instance.freeze(member), instance.report()),
  thaw: async (instance, { member }) => (await instance.thaw(member), instance.report()),
  restart: async (instance, { member }) => (await instance.restart(member), instance.report()),
  cut: async (instance, { how, member }) => (await instance.cut(how, member), instance.report()),
  mend: async (instance, { member }) => (await instance.mend(member), instance.report()),
  promote: async (instance) => instance.promote(),
  snapshot: async (instance) => (await instance.snapshot(), instance.report()),
  restore: async (instance) => (await instance.restore(), instance.report()),
};

/** Serves an instance's commands, one after the other. `stop` carries out the command of that name, `leave` comes after its answer. */
export function serve(instance, stop, leave) {
  let turn = Promise.resolve();
  const server = createServer((socket) => {
    socket.on("error", () => {});
    let line = "";
    socket.setEncoding("utf8").on("data", (text) => {
      line += text;
      if (line.length > MOST_BYTES) socket.destroy();
      if (!line.endsWith("\n")) return;
      const request = JSON.parse(line);
      line = "";
      turn = turn.then(async () => {
        const answer = await (request.verb === "stop" ? stop() : VERBS[request.verb](instance, request)).then(
          (value) => ({ value }),
          (error) => ({ error: error instanceof Problem ? error.message : error.stack }),
        );
        socket.end(`${JSON.stringify(answer)}\n`, request.verb === "stop" && answer.error === undefined ? leave : undefined);
      });
    });
  });
  return new Promise((done, reject) => {
    server.once("error", reject);
    // Relative to the working directory: a path of more than 107 bytes is no socket's name.
    inDirectory(instance.dir, () => server.listen(SOCKET, () => done(server)));
  });
}

/** Carries out `act` in another working directory. */
export function inDirectory(dir, act) {
  const before = process.cwd();
  process.chdir(dir);
  try {
    return act();
  } finally {
    process.chdir(before);
  }
}

/** Sends a command to the instance in `dir` and answers what came back. */
export async function request(dir, message) {
  const place = resolve(dir);
  const note = readNote(place);
  if (note === undefined) throw new Problem(`no instance in ${place}`);
  if (!alive(note.pid)) throw new Problem(`the program that held the instance in ${place} is gone, and its servers with it`);
  const socket = inDirectory(place, () => connect(SOCKET));
  socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
  socket.write(`${JSON.stringify(message)}\n`);
  try {
    for await (const line of createInterface({ input: socket })) {
      const { value, error } = JSON.parse(line);
      if (error !== undefined) throw new Problem(error);
      return value;
    }
  } finally {
    socket.destroy();
  }
  throw new Problem(`the instance in ${place} ended without an answer`);
}
