// Requests that rows of the tables are made of.

export const AUTH = "/api/auth";

/** What a client sends along to get JSON instead of a redirect. */
export const asJson = (api, form) => (api === "authjs5" ? { form, headers: { "x-auth-return-redirect": "1" } } : { form: { ...form, json: "true" } });

export const get = (name, path) => ({ name, ask: (browser) => browser.ask("GET", `${AUTH}${path}`) });

/** A post with the token of the forms, as JSON and as a redirect. */
export const post = (name, path, fields = {}) => [
  {
    name: `${name}, for a program`,
    ask: async (browser, { api }) => browser.ask("POST", `${AUTH}${path}`, asJson(api, { csrfToken: await browser.csrf(), ...fields })),
  },
  {
    name: `${name}, as a form`,
    ask: async (browser) => browser.ask("POST", `${AUTH}${path}`, { form: { csrfToken: await browser.csrf(), ...fields } }),
  },
];
