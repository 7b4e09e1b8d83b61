// Requests answered by Auth.js itself and by hallpass: what differs stands in wire_differences.mjs with its reason, and all else is equal.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { addAccount } from "../browser/accounts.mjs";
import { startServer } from "../browser/server.mjs";
import { send } from "../oidc/client.mjs";
import { somebody } from "../oidc/house.mjs";
import { startProvider } from "../oidc/provider.mjs";
import { authjs5, nextauth4 } from "./peers.mjs";
import { shown } from "./wire_answer.mjs";
import { Browser } from "./wire_browser.mjs";
import { openAuthjsDatabase, openHallpassDatabase } from "./wire_databases.mjs";
import { DIFFERENCES } from "./wire_differences.mjs";
import { TABLE } from "./wire_table.mjs";
import { TABLE as TABLE_OF_DATABASES } from "./wire_table_database.mjs";

/** hallpass, asked at the address where it listens. */
function hallpass(server, isSecure) {
  return {
    sessionCookie: isSecure ? "__Host-session" : "session",
    async ask({ path, ...request }) {
      const { response, text } = await send(new URL(path, server.origin), request);
      const headers = Object.entries(response.headersDistinct).flatMap(([name, values]) => values.map((value) => [name, value]));
      return { status: response.statusCode, headers, body: text };
    },
  };
}

const PEERS = { authjs5, nextauth4 };
/** Which differences were seen in answers of which version. */
const applied = Object.fromEntries(Object.keys(PEERS).map((api) => [api, new Set()]));

// Each has servers of its own, and mostly waits for them.
describe("answers", { concurrency: true }, () => {
  for (const [api, makePeer] of Object.entries(PEERS)) {
    for (const scheme of ["http", "https"]) {
      const isSecure = scheme === "https";
      describe(`${api} over ${scheme}`, { concurrency: 1 }, () => {
        const closing = [];
        let context;
        let ours;
        let theirs;
        let theirsWithDatabase;

        before(async () => {
          const provider = await startProvider();
          closing.push(() => provider.close());
          const server = await startServer({
            HALLPASS_AUTH_API: api,
            // Its database is looked into.
            HALLPASS_DATABASE_URL: "sqlite:hallpass.db",
            ...provider.settings,
            HALLPASS_PROVIDERS_CORP_SIGN_UP: "true",
            ...(isSecure && { HALLPASS_PUBLIC_URL: "https://app.example" }),
          });
          closing.push(() => server.close());
          const origin = isSecure ? "https://app.example" : server.origin;
          provider.register(origin);
          const account = await addAccount(server, { name: "Ada" });
          context = { account, api, isSecure, origin, provider };

          const hallpassDatabase = openHallpassDatabase(server);
          closing.push(() => hallpassDatabase.close());
          const authjsDatabase = await openAuthjsDatabase();
          closing.push(() => authjsDatabase.close());
          ours = { peer: hallpass(server, isSecure), database: hallpassDatabase };
          theirs = { peer: makePeer(origin, { account, provider }) };
          theirsWithDatabase = { peer: makePeer(origin, { account, provider, adapter: authjsDatabase.adapter }), database: authjsDatabase };
        });
        after(async () => {
          for (const close of closing.reverse()) await close();
        });

        /** Asks one side. Beside the answer, if there is a database: in how many days the user's sessions end then. */
        async function answerOf({ peer, database }, row, user) {
          const newBrowser = () => new Browser(peer, context.origin);
          context.provider.calm();
          context.provider.user = user;
          const answer = await row.ask(newBrowser(), { ...context, database, newBrowser });
          const deadlines = database && { deadlines: await database.deadlines(user.email) };
          return { asked: answer.asked, answer: { ...shown(answer), ...deadlines } };
        }

        /** Asks both and compares, after what differs on purpose. */
        async function compare(row, other, own) {
          const user = somebody();
          const { answer, asked } = await answerOf(other, row, user);
          const { answer: actual } = await answerOf(own, row, user);
          let expected = answer;
          for (const difference of DIFFERENCES) {
            const changed = difference.apply(expected, { ...context, ...asked, user, about: row.about, old: row.old });
            if (!isDeepStrictEqual(changed, expected)) applied[api].add(difference);
            expected = changed;
          }
          assert.deepEqual(actual, expected, "hallpass (actual) and Auth.js with the differences (expected)");
        }

        for (const row of TABLE) {
          test(row.name, () => compare(row, theirs, { peer: ours.peer }));
        }
        describe("with a database", () => {
          for (const row of TABLE_OF_DATABASES) {
            test(row.name, () => compare(row, theirsWithDatabase, ours));
          }
        });
      });
    }
  }
});

describe("the differences", () => {
  for (const [api, version] of [["authjs5", 5], ["nextauth4", 4]]) {
    test(`each was seen in an answer of Auth.js ${version}`, () => {
      const unseen = DIFFERENCES.filter(({ when }) => !when.endsWith(`, version ${9 - version}`)).filter((one) => !applied[api].has(one));
      assert.deepEqual(unseen.map(({ when, theirs }) => `${when}: ${theirs}`), []);
    });
  }

  test("each stands in the guide, and no other", () => {
    const guide = readFileSync(new URL("../../docs/INTEGRATION.md", import.meta.url), "utf8");
    const tables = [...guide.matchAll(/^\| \| Auth\.js \| hallpass \|\n.*\n((?:\|.*\n)*)/gm)].map(([, rows]) => rows);
    const rows = DIFFERENCES.map(({ when, theirs, ours }) => `| ${when} | ${theirs} | ${ours} |\n`);
    assert.deepEqual(tables.join("").split(/(?<=\n)/), rows);
  });
});
