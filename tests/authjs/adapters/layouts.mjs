// The tables of each adapter: users and sessions as hallpass's own tests have them, and beside these what Auth.js keeps of accounts and of links
// sent by e-mail, which hallpass does not read.

import { readFileSync } from "node:fs";

const FOLDER = new URL("../../../crates/hallpass-authjs/tests/layouts/", import.meta.url);

const TOKENS = ["refresh_token", "access_token", "token_type", "scope", "id_token", "session_state"];

const ENGINES = {
  postgres: { text: "text", stamp: "timestamp(3)", zoned: "timestamptz", now: "CURRENT_TIMESTAMP", uuid: "uuid DEFAULT gen_random_uuid()" },
  sqlite: { text: "text", stamp: "datetime", zoned: "text", now: "CURRENT_TIMESTAMP", uuid: "varchar" },
  mariadb: { text: "varchar(191)", stamp: "datetime(3)", zoned: "datetime(3)", now: "CURRENT_TIMESTAMP(3)", uuid: "varchar(36) DEFAULT (UUID())" },
};

/** What the layouts differ in, beside the names of tables. */
const ADDITIONS = {
  pg_adapter: {
    tables: { user: "users", session: "sessions", account: "accounts", verification: "verification_token" },
    account: { id: "SERIAL PRIMARY KEY", userId: "integer NOT NULL" },
    expires: (type) => type.zoned,
    verificationKey: 'PRIMARY KEY ("identifier", "token")',
  },
  drizzle: {
    tables: { user: "user", session: "session", account: "account", verification: "verificationToken" },
    account: {},
    accountKey: 'PRIMARY KEY ("provider", "providerAccountId")',
    expires: (type, engine) => ({ postgres: "timestamp", sqlite: "integer", mariadb: "timestamp" })[engine],
    verificationKey: 'PRIMARY KEY ("identifier", "token")',
  },
  kysely: {
    tables: { user: "User", session: "Session", account: "Account", verification: "VerificationToken" },
    account: { id: (type) => `${type.uuid} PRIMARY KEY`, userId: (type) => `${type.uuid.split(" ", 1)[0]} NOT NULL` },
    accountKey: 'UNIQUE ("provider", "providerAccountId")',
    expires: (type) => type.zoned,
    verificationKey: 'UNIQUE ("identifier", "token")',
  },
  prisma: {
    tables: { user: "User", session: "Session", account: "Account", verification: "VerificationToken" },
    account: { createdAt: (type) => `${type.stamp} NOT NULL DEFAULT ${type.now}`, updatedAt: (type) => `${type.stamp} NOT NULL` },
    accountKey: 'PRIMARY KEY ("provider", "providerAccountId")',
    expires: (type) => type.stamp,
    verificationKey: 'PRIMARY KEY ("identifier", "token")',
  },
  prisma_classic: {
    tables: { user: "User", session: "Session", account: "Account", verification: "VerificationToken" },
    account: { id: (type) => `${type.text} NOT NULL PRIMARY KEY` },
    accountKey: 'UNIQUE ("provider", "providerAccountId")',
    expires: (type) => type.stamp,
    verificationKey: 'UNIQUE ("token")',
  },
};

/** The names of a layout's tables. */
export const tablesOf = (layout) => ADDITIONS[layout].tables;

/** The statements that make the tables; on MariaDB they need ANSI_QUOTES. */
export function statements(layout, engine) {
  const file = new URL(`${layout}.${engine === "mariadb" ? "mysql" : engine}.sql`, FOLDER);
  const type = ENGINES[engine];
  const { tables, account, accountKey, expires, verificationKey } = ADDITIONS[layout];
  const columns = {
    userId: `${type.text} NOT NULL`,
    type: `${type.text} NOT NULL`,
    provider: `${type.text} NOT NULL`,
    providerAccountId: `${type.text} NOT NULL`,
    expires_at: "integer",
    ...Object.fromEntries(TOKENS.map((name) => [name, type.text])),
    ...account,
  };
  const lines = Object.entries(columns).map(([name, is]) => `"${name}" ${typeof is === "function" ? is(type) : is}`);
  // pg_adapter's tables refer to nothing.
  if (layout !== "pg_adapter") lines.push(`FOREIGN KEY ("userId") REFERENCES "${tables.user}" ("id") ON DELETE CASCADE`);
  if (accountKey) lines.push(accountKey);
  const text = `${type.text} NOT NULL`;
  // A foreign key wants the collation of what it refers to.
  const collation = engine === "mariadb" ? ` COLLATE ${layout.startsWith("prisma") ? "utf8mb4_unicode_ci" : "utf8mb4_general_ci"}` : "";
  return [
    readFileSync(file, "utf8"),
    `CREATE TABLE "${tables.account}" (${lines.join(", ")})${collation};`,
    `CREATE TABLE "${tables.verification}" ("identifier" ${text}, "token" ${text}, "expires" ${expires(type, engine)} NOT NULL, ${verificationKey})${collation};`,
  ].join("\n");
}
