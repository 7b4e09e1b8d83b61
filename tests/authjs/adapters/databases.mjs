// Official adapters of Auth.js, each on a new database of its own: PostgreSQL and MariaDB on the servers that `scripts/services run` starts, SQLite in a
// file of its own.

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrizzleAdapter } from "@auth/drizzle-adapter";
import { KyselyAdapter } from "@auth/kysely-adapter";
import PostgresAdapter from "@auth/pg-adapter";
import { PrismaAdapter } from "@auth/prisma-adapter";
import { createClient } from "@libsql/client";
import { PrismaLibSql } from "@prisma/adapter-libsql";
import { PrismaMariaDb } from "@prisma/adapter-mariadb";
import { PrismaPg } from "@prisma/adapter-pg";
import { drizzle as drizzleLibsql } from "drizzle-orm/libsql";
import { drizzle as drizzleMysql } from "drizzle-orm/mysql2";
import { drizzle as drizzlePostgres } from "drizzle-orm/node-postgres";
import { Kysely, MysqlDialect, PostgresDialect, SqliteDialect } from "kysely";
import Database from "libsql";
import mysql from "mysql2";
import pg from "pg";
import { statements, tablesOf } from "./layouts.mjs";
import { prismaClient } from "./prisma.mjs";

const CONNECTIONS = 4;
// SQLite has one writer: without a time to wait, a write that meets another program's fails at once.
const WAIT_MS = 5_000;

function serverOf(engine) {
  const variable = `HALLPASS_TEST_${engine.toUpperCase()}`;
  const url = process.env[variable];
  if (!url) {
    throw new Error(
      `${variable} is not set: run the tests as \`../../scripts/services run --only postgres,mariadb -- node --test --test-concurrency=1\``,
    );
  }
  return url;
}

const newName = () => `t${randomBytes(8).toString("hex")}`;

function withPath(url, name) {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

const TIMESTAMP = 1114;
const TEXT = 25;
/** TIMESTAMP without a time zone as it stands: `pg` would take it for local time. */
const getTypeParser = (type, format) => pg.types.getTypeParser(type === TIMESTAMP ? TEXT : type, format);

/** How to make, ask and remove a database. `sql` takes `?` for parameters and double quotes around names on every engine. */
const ENGINES = {
  async postgres() {
    const server = serverOf("postgres");
    const name = newName();
    const once = async (text) => {
      const client = new pg.Client({ connectionString: server });
      await client.connect();
      await client.query(text).finally(() => client.end());
    };
    await once(`CREATE DATABASE ${name}`);
    const url = withPath(server, name);
    const client = new pg.Client({ connectionString: url, types: { getTypeParser } });
    await client.connect();
    return {
      url,
      script: (text) => client.query(text),
      async sql(text, params = []) {
        let index = 0;
        return (await client.query(text.replaceAll("?", () => `$${(index += 1)}`), params)).rows;
      },
      async remove() {
        await client.end();
        await once(`DROP DATABASE ${name} WITH (FORCE)`);
      },
    };
  },

  async mariadb() {
    const name = newName();
    const url = withPath(serverOf("mariadb"), name);
    const connection = mysql.createConnection({ uri: withPath(url, ""), multipleStatements: true, timezone: "Z" }).promise();
    await connection.query(`CREATE DATABASE ${name}; USE ${name}; SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')`);
    return {
      url,
      // The layouts are written with the engine's own quotes.
      script: (text) => connection.query(text),
      async sql(text, params = []) {
        return (await connection.query(text, params))[0];
      },
      async remove() {
        await connection.query(`DROP DATABASE ${name}`);
        await connection.end();
      },
    };
  },

  async sqlite() {
    const folder = mkdtempSync(join(tmpdir(), "hallpass-adapter-"));
    const url = `sqlite:${join(folder, "app.db")}`;
    const database = new Database(fileOf(url));
    // hallpass and the adapters write beside each other.
    database.exec("PRAGMA journal_mode = wal; PRAGMA busy_timeout = 5000");
    return {
      url,
      script: async (text) => database.exec(text),
      async sql(text, params = []) {
        const statement = database.prepare(text);
        return statement.reader ? statement.all(params) : (statement.run(params), []);
      },
      async remove() {
        database.close();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
};

const fileOf = (url) => url.slice("sqlite:".length);

function pgPool(url) {
  const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS });
  return { pool, close: () => pool.end() };
}

function mysqlPool(url) {
  const pool = mysql.createPool({ uri: url, connectionLimit: CONNECTIONS, timezone: "Z" });
  // Drizzle takes TIMESTAMP for UTC, and the server gives it in the connection's time zone.
  pool.on("connection", (connection) => connection.query("SET time_zone = '+00:00'"));
  return { pool, close: () => pool.promise().end() };
}

async function kysely(dialect) {
  const db = new Kysely({ dialect });
  return { adapter: KyselyAdapter(db), close: () => db.destroy() };
}

async function prisma(layout, engine, driver) {
  const PrismaClient = await prismaClient(layout, engine);
  const client = new PrismaClient({ adapter: driver });
  return { adapter: PrismaAdapter(client), close: () => client.$disconnect() };
}

function mariadbConfig(url) {
  const { hostname, port, username, password, pathname } = new URL(url);
  const plain = decodeURIComponent;
  return { host: hostname, port: Number(port || 3306), user: plain(username), password: plain(password), database: pathname.slice(1), connectionLimit: CONNECTIONS };
}

/** What the official package makes of a database that is there: `{ adapter, close }`. */
const MAKERS = {
  pg_adapter: {
    async postgres(url) {
      const { pool, close } = pgPool(url);
      return { adapter: PostgresAdapter(pool), close };
    },
  },
  drizzle: {
    async postgres(url) {
      const { pool, close } = pgPool(url);
      return { adapter: DrizzleAdapter(drizzlePostgres(pool)), close };
    },
    async sqlite(url) {
      const client = createClient({ url: `file:${fileOf(url)}`, timeout: WAIT_MS });
      await client.execute("PRAGMA foreign_keys = on");
      // Nothing here has to survive a loss of power, and this client makes everybody wait for the disk.
      await client.execute("PRAGMA synchronous = off");
      return { adapter: DrizzleAdapter(drizzleLibsql(client)), close: async () => client.close() };
    },
    async mariadb(url) {
      const { pool, close } = mysqlPool(url);
      return { adapter: DrizzleAdapter(drizzleMysql(pool)), close };
    },
  },
  kysely: {
    postgres: (url) => kysely(new PostgresDialect({ pool: pgPool(url).pool })),
    async sqlite(url) {
      const database = new Database(fileOf(url));
      database.exec("PRAGMA foreign_keys = on; PRAGMA busy_timeout = 5000");
      return kysely(new SqliteDialect({ database }));
    },
    mariadb: (url) => kysely(new MysqlDialect({ pool: mysqlPool(url).pool })),
  },
};

function prismaMakers(layout) {
  return {
    postgres: (url) => prisma(layout, "postgres", new PrismaPg({ connectionString: url, max: CONNECTIONS })),
    sqlite: (url) => prisma(layout, "sqlite", new PrismaLibSql({ url: `file:${fileOf(url)}`, timeout: WAIT_MS })),
    mariadb: (url) => prisma(layout, "mariadb", new PrismaMariaDb(mariadbConfig(url))),
  };
}
MAKERS.prisma = prismaMakers("prisma");
MAKERS.prisma_classic = prismaMakers("prisma_classic");

function entry(layout, engine) {
  return {
    name: `${layout} on ${engine}`,
    layout,
    engine,
    tables: tablesOf(layout),
    // Drizzle's TIMESTAMP on MySQL.
    keepsMillis: !(layout === "drizzle" && engine === "mariadb"),
    // The schema for MySQL on authjs.dev refuses to delete a user who has sessions.
    endsSessionsWithUser: !(layout === "prisma" && engine === "mariadb"),
    // Kysely's adapter answers the token that it was asked for, and MariaDB has found it without regard to case.
    tellsToken: !(layout === "kysely" && engine === "mariadb"),
    async open() {
      const { url, sql, script, remove } = await ENGINES[engine]();
      try {
        await script(statements(layout, engine));
        const { adapter, close } = await MAKERS[layout][engine](url);
        return {
          adapter,
          sql,
          url,
          async close() {
            await close();
            await remove();
          },
        };
      } catch (error) {
        await remove();
        throw error;
      }
    },
  };
}

/** Milliseconds of an `expires` as `sql` gives it: a Date, a number, or text that means UTC if it says nothing else. */
export function moment(value) {
  if (typeof value !== "string") return Number(value);
  const text = value.replace(" ", "T");
  return Date.parse(/(Z|[+-]\d\d(:?\d\d)?)$/.test(text) ? text : `${text}Z`);
}

/**
 * `{ name, layout, engine, tables, open() }`. `open()` makes a new database with the layout's tables and answers `{ adapter, sql(text, params), url, close() }`;
 * `url` is for a program that shares it, and `close()` removes it.
 */
export const DATABASES = Object.entries(MAKERS).flatMap(([layout, engines]) => Object.keys(engines).map((engine) => entry(layout, engine)));
