// hallpass with one real provider, and somebody who has an account.

import { addAccount } from "../browser/accounts.mjs";
import { startServer } from "../browser/server.mjs";
import { Client } from "./client.mjs";
import { startProvider } from "./provider.mjs";

/** Starts a provider and hallpass for it. `settings` are more of hallpass's; `others` more providers that have `settings` and `register`. */
export async function startHouse({ signUp = true, settings = {}, others = [], id = "corp" } = {}) {
  const provider = await startProvider({ id });
  const env = { ...provider.settings, ...Object.assign({}, ...others.map((other) => other.settings)), ...settings };
  if (signUp) env[`HALLPASS_PROVIDERS_${id.toUpperCase()}_SIGN_UP`] = "true";
  const hallpass = await startServer(env);
  for (const each of [provider, ...others]) each.register(hallpass.origin);
  return {
    provider,
    hallpass,
    client: () => new Client(hallpass),
    account: (options) => addAccount(hallpass, options),
    async close() {
      await hallpass.close();
      for (const each of [provider, ...others]) await each.close();
    },
  };
}

let subjects = 0;

/** A user whom the provider has not had before. */
export function somebody(more = {}) {
  subjects += 1;
  const sub = `subject-${subjects}`;
  return { sub, email: `${sub}@example.org`, email_verified: true, name: `Number ${subjects}`, ...more };
}
