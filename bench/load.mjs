// Requests per second and CPU time per request of one handler in several forms, in interleaved rounds:
// node load.mjs PROGRAM ROUNDS [sqlite|postgres|mariadb|redis]
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";

const [program, roundsText, engine = "sqlite"] = process.argv.slice(2);
const rounds = Number(roundsText);
const SESSIONS = 100_000;
const SECONDS = 2;
// Signed tokens need no database: once is enough.
const MODES = ["bare", "by-hand", "strict", "cached", ...(engine === "sqlite" ? ["hs256", "eddsa"] : [])];
const directory = mkdtempSync(join(tmpdir(), "hallpass-load-"));
const tokens = join(directory, "tokens");
const services = join(import.meta.dirname, "../scripts/services");

// A database server shares core 1 with the load generator, for both peers alike: core 0 is the application's.
const started = (kind) => {
  const arguments_ = ["-c", "1", services, "start", kind, "--owner", String(process.pid)];
  const { direct, dir } = JSON.parse(execFileSync("taskset", arguments_, { encoding: "utf8" }));
  return { url: direct, stop: () => execFileSync(services, ["stop", dir]) };
};
const database = engine === "sqlite" ? { url: `sqlite:${join(directory, "sessions.db")}`, stop: () => {} } : started(engine);

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const cpuMicros = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000; // clock ticks of 10 ms
};

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
};

async function serve(mode) {
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn("taskset", ["-c", "0", program, mode, database.url, address], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve);
    child.once("exit", (code) => reject(new Error(`${mode} ended with ${code}`)));
  });
  return { address, child };
}

try {
  execFileSync(program, ["prepare", database.url, tokens, String(SESSIONS)], { stdio: "inherit" });
  // Each connection walks through all tokens in its own order, without locality.
  const walk = (file) => {
    const script = `${file}.lua`;
    writeFileSync(
      script,
      `local tokens = {}
for line in io.lines("${file}") do tokens[#tokens + 1] = line end
local step = 0
request = function()
  step = (step + 61803) % #tokens
  return wrk.format("GET", "/", { ["Cookie"] = "theme=dark; session=" .. tokens[step + 1] })
end
done = function(summary)
  io.write(string.format("RESULT %d %d %d\\n", summary.requests, summary.duration, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout))
end
`,
    );
    return script;
  };
  const own = walk(tokens);
  const scripts = { hs256: `${tokens}.hs256`, eddsa: `${tokens}.eddsa` };
  for (const mode of ["hs256", "eddsa"]) scripts[mode] = walk(scripts[mode]);
  const servers = {};
  for (const mode of MODES) servers[mode] = await serve(mode);
  const figures = Object.fromEntries(MODES.map((mode) => [mode, { rate: [], cpu: [] }]));
  for (let round = -1; round < rounds; round += 1) {
    for (const mode of MODES) {
      const { address, child } = servers[mode];
      const before = cpuMicros(child.pid);
      const output = execFileSync("taskset", ["-c", "1", "wrk", "-t1", "-c64", `-d${SECONDS}s`, "-s", scripts[mode] ?? own, `http://${address}/`], { encoding: "utf8" });
      const [, requests, micros, errors] = output.match(/RESULT (\d+) (\d+) (\d+)/).map(Number);
      if (errors > 0) throw new Error(`${mode}: ${errors} answers were errors\n${output}`);
      if (round < 0) continue; // warm-up
      figures[mode].rate.push((requests / micros) * 1e6);
      figures[mode].cpu.push((cpuMicros(child.pid) - before) / requests);
    }
    if (round >= 0) process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  const ratio = (mode, base) => figures[mode].rate.map((rate, round) => rate / figures[base].rate[round]);
  const spread = (numbers) => `${Math.min(...numbers).toFixed(2)} to ${Math.max(...numbers).toFixed(2)}`;
  console.log(`\n${cpus()[0].model}, ${cpus().length} cores, load ${loadavg()[0].toFixed(1)}; ${engine}, ${SESSIONS} sessions, 64 connections, ${rounds} interleaved rounds of ${SECONDS} s, medians\n`);
  console.log("| handler | requests/s | CPU per request | of the bare handler | of the hand-written read |");
  console.log("|---|---|---|---|---|");
  for (const mode of MODES) {
    const bare = ratio(mode, "bare");
    const hand = ratio(mode, "by-hand");
    console.log(
      `| ${mode} | ${Math.round(median(figures[mode].rate))} | ${median(figures[mode].cpu).toFixed(1)} us | ${median(bare).toFixed(2)} (${spread(bare)}) | ${median(hand).toFixed(2)} (${spread(hand)}) |`,
    );
  }
  for (const { child } of Object.values(servers)) child.kill();
} finally {
  database.stop();
  rmSync(directory, { recursive: true, force: true });
}
