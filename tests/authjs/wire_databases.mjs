// What the databases of both sides hold of a user's sessions: `deadlines(email)`, in how many days those end that live, and `age(email, days)`, which makes
// them as they would be if so many days had passed.

import { join } from "node:path";
import Database from "libsql";
import { DATABASES } from "./adapters/databases.mjs";
import { DAY, daysFromNow } from "./wire_answer.mjs";

const WAIT_MS = 5_000;

const living = (rows) => rows.map(({ at }) => daysFromNow(at)).filter((days) => days > 0).sort();

/** A database of Auth.js under an official adapter (`adapter`). */
export async function openAuthjsDatabase() {
  const { adapter, sql, close } = await DATABASES.find(({ name }) => name === "drizzle on sqlite").open();
  const OF_USER = `"userId" = (SELECT "id" FROM "user" WHERE "email" = ?)`;
  return {
    adapter,
    close,
    age: (email, days) => sql(`UPDATE "session" SET "expires" = "expires" - ? WHERE ${OF_USER}`, [days * DAY, email]),
    deadlines: async (email) => living(await sql(`SELECT "expires" AS at FROM "session" WHERE ${OF_USER}`, [email])),
  };
}

/** That of a running hallpass. */
export function openHallpassDatabase(server) {
  const database = new Database(join(server.directory, "hallpass.db"));
  database.exec(`PRAGMA busy_timeout = ${WAIT_MS}; PRAGMA synchronous = off`);
  const OF_USER = "ended_at IS NULL AND user_id = (SELECT id FROM account_users WHERE email = ?)";
  const TIMES = ["created_at", "authenticated_at", "renewed_at", "last_seen_at", "idle_expires_at", "absolute_expires_at"];
  const earlier = TIMES.map((name) => `${name} = ${name} - ?`).join(", ");
  return {
    close: async () => database.close(),
    async age(email, days) {
      database.prepare(`UPDATE hallpass_sessions SET ${earlier} WHERE ${OF_USER}`).run([...TIMES.map(() => days * DAY), email]);
    },
    deadlines: async (email) => living(database.prepare(`SELECT idle_expires_at AS at FROM hallpass_sessions WHERE ${OF_USER}`).all([email])),
  };
}
