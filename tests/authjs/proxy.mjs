// nginx in front of an application and what stands beside it.

import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const NGINX = ["/usr/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"].find(existsSync) ?? "nginx";
const START_MS = 10_000;

const configuration = (port, locations) => `
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 256; }
http {
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  types { text/html html; text/javascript js; }
  server {
    listen 127.0.0.1:${port};
    location = /favicon.ico { return 204; }
    ${locations.join("\n    ")}
  }
}
`;

/** Starts it in `directory`, with these blocks of configuration in its server. `calls()` are method and path of each request that it has answered, in order. */
export async function startProxy(directory, port, locations) {
  writeFileSync(join(directory, "nginx.conf"), configuration(port, locations));
  const nginx = spawn(NGINX, ["-p", directory, "-c", "nginx.conf", "-e", "error.log"], { stdio: "ignore" });
  let ended = false;
  const exited = new Promise((done) => {
    nginx.once("exit", done);
    nginx.once("error", done);
  }).then(() => {
    ended = true;
  });
  const proxy = {
    calls: () => [...readFileSync(join(directory, "access.log"), "utf8").matchAll(/"([A-Z]+) ([^ ?"]+)/g)].map(([, method, path]) => `${method} ${path}`),
    async close() {
      nginx.kill("SIGTERM");
      await exited;
    },
  };
  for (const deadline = Date.now() + START_MS; ; await pause(50)) {
    const answers = await fetch(`http://127.0.0.1:${port}/favicon.ico`, { signal: AbortSignal.timeout(2_000) }).then((answer) => answer.ok, () => false);
    if (answers) return proxy;
    if (ended || Date.now() > deadline) {
      const log = join(directory, "error.log");
      const said = existsSync(log) ? readFileSync(log, "utf8") : `no nginx at ${NGINX}: install it`;
      await proxy.close();
      throw new Error(`nginx does not answer\n${said}`);
    }
  }
}
