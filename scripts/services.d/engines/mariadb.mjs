// MariaDB: one server.

import { join } from "node:path";
import { Member } from "../member.mjs";
import { account, output, program } from "../programs.mjs";

const url = (port) => `mysql://root@127.0.0.1:${port}/test`;

async function answers(member) {
  const command = [
    program("mariadb"),
    "--no-defaults",
    "-h",
    "127.0.0.1",
    "-P",
    `${member.port}`,
    "-u",
    "root",
    "--connect-timeout=2",
    "-N",
    "-B",
    "-e",
    "select @@datadir",
  ];
  return (await output(command, { timeout: 5_000 })).trim() === `${join(member.dir, "data")}/`;
}

export async function start(instance) {
  const user = account("mysql");
  const primary = instance.add(
    new Member({
      name: "primary",
      dir: join(instance.dir, "primary"),
      log: instance.log("primary"),
      user,
      answers,
      command: (self) => [
        "mariadbd",
        "--no-defaults",
        `--datadir=${join(self.dir, "data")}`,
        `--tmpdir=${self.dir}`,
        `--port=${self.port}`,
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        // Relative to the data directory: a path of more than 107 bytes is no address.
        "--socket=mariadb.sock",
        "--pid-file=mariadb.pid",
        "--character-set-server=utf8mb4",
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-log-file-size=32M",
        "--innodb-buffer-pool-size=64M",
        "--key-buffer-size=1M",
        "--aria-pagecache-buffer-size=8M",
        "--max-connections=300",
      ],
    }),
  );
  const make = [
    program("mariadb-install-db"),
    "--no-defaults",
    `--datadir=${join(primary.dir, "data")}`,
    "--auth-root-authentication-method=normal",
    // Not /tmp: a MariaDB that starts removes every temporary table that it finds in its own.
    `--tmpdir=${primary.dir}`,
    "--innodb-log-file-size=32M",
  ];
  await output(make, { timeout: 60_000, user, cwd: primary.dir });
  await primary.begin();
  const proxy = await instance.front(primary);
  instance.urls = () => ({ url: url(proxy.port), direct: url(primary.port) });
}
