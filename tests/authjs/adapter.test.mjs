// The official adapters on real databases: what Auth.js asks of them, alone and with hallpass's rules around them, and the rules themselves.

import { after, before, describe } from "node:test";
import { hashToken, withHallpass } from "hallpass-authjs-adapter";
import { contract } from "./adapters/contract.mjs";
import { DATABASES } from "./adapters/databases.mjs";
import { rowReader, rules } from "./adapters/rules.mjs";

const WAYS = [
  { name: "alone", wrap: (adapter) => adapter, keepsToken: true },
  { name: "with hallpass", wrap: (adapter) => withHallpass(adapter) },
  { name: "with hallpass and hashes", wrap: (adapter) => withHallpass(adapter, { hash: true }), stored: hashToken },
  { name: "with hallpass for a request", wrap: (adapter) => eachCall(() => withHallpass(adapter).forRequest()) },
];

/** Every call as a request of its own. */
function eachCall(make) {
  return Object.fromEntries(Object.keys(make()).map((method) => [method, (...args) => make()[method](...args)]));
}

for (const database of DATABASES) {
  describe(database.name, () => {
    let open;
    before(async () => {
      open = { ...database, ...(await database.open()) };
    });
    after(() => open?.close());

    for (const { name, wrap, stored, keepsToken = false } of WAYS) {
      contract(`${name}: what Auth.js asks`, async () => ({
        adapter: wrap(open.adapter),
        row: rowReader(open, stored),
        keepsMillis: database.keepsMillis,
        endsSessionsWithUser: database.endsSessionsWithUser,
        keepsToken,
        close() {},
      }));
    }
    const opened = Object.assign(() => open, { keepsMillis: database.keepsMillis, tellsToken: database.tellsToken });
    rules("hallpass's rules", opened, { hash: false });
    rules("hallpass's rules with hashes", opened, { hash: true });
  });
}
