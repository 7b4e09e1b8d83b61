// PgBouncer in transaction mode in front of a PostgreSQL that is somewhere else.

import { chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Member } from "../member.mjs";
import { Problem } from "../problem.mjs";
import { account, output, program } from "../programs.mjs";

function settings(postgres) {
  const url = new URL(postgres);
  const decoded = (text) => decodeURIComponent(text).replaceAll("'", "''");
  const password = url.password === "" ? "" : ` password='${decoded(url.password)}'`;
  return {
    database: decodeURIComponent(url.pathname.slice(1)) || "postgres",
    server: `host=${url.hostname} port=${url.port || 5432} user='${decoded(url.username || "postgres")}'${password}`,
  };
}

export async function start(instance, { postgres } = {}) {
  if (postgres === undefined || !URL.canParse(postgres))
    throw new Problem("pgbouncer needs --postgres URL, the server to stand in front of");
  const { database, server } = settings(postgres);
  const url = (port) => `postgres://postgres@127.0.0.1:${port}/${encodeURIComponent(database)}`;
  const user = account("postgres");
  const bouncer = instance.add(
    new Member({
      name: "pgbouncer",
      dir: join(instance.dir, "pgbouncer"),
      log: instance.log("pgbouncer"),
      user,
      answers: async (self) => {
        const command = [
          program("psql"),
          "-X",
          "-A",
          "-t",
          "-h",
          "127.0.0.1",
          "-p",
          `${self.port}`,
          "-U",
          "postgres",
          "-d",
          "pgbouncer",
          "-c",
          "show config",
        ];
        return (await output(command, { timeout: 5_000 })).includes(join(self.dir, "pgbouncer.pid"));
      },
      command: (self) => {
        const file = join(self.dir, "pgbouncer.ini");
        writeFileSync(
          file,
          [
            "[databases]",
            `* = ${server}`,
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            `listen_port = ${self.port}`,
            "unix_socket_dir =",
            "auth_type = any",
            "admin_users = postgres",
            "stats_users = postgres",
            `pidfile = ${join(self.dir, "pgbouncer.pid")}`,
            "pool_mode = transaction",
            "default_pool_size = 20",
            "max_client_conn = 500",
            "",
          ].join("\n"),
          { mode: 0o600 },
        );
        if (user !== undefined) chownSync(file, user.uid, user.gid);
        return ["pgbouncer", file];
      },
    }),
  );
  await bouncer.begin();
  const proxy = await instance.front(bouncer);
  instance.urls = () => ({ url: url(proxy.port), direct: url(bouncer.port) });
}
