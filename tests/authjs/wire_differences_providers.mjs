// What hallpass answers otherwise than Auth.js when somebody signs in with a provider.

import { BAD_REQUEST, cookieOf, to, without } from "./wire_changes.mjs";
import { HERE } from "./wire_table_database.mjs";

/** Seconds of the default policies, for a session and for one that is to be remembered. */
const ABSOLUTE_TIMEOUT = 90 * 86_400;
const REMEMBERED = 365 * 86_400;

/** Cookies of a sign-in that is under way: those of Auth.js, and ours. */
const UNDER_WAY = /^[^=]*\.(state|nonce|pkce\.code_verifier)=/;
const underWay = (isSecure, value, ...more) => cookieOf(`${isSecure ? "__Host-" : ""}hallpass.sign-in.<16 hex>=${value}`, isSecure, ...more);

const PAGE = { status: 200, body: "<page>", location: "", "content-type": "text/html; charset=utf-8" };
const isAtProvider = (address) => address.includes("code_challenge=");
const isArrival = ({ method, path }) => method === "GET" && path.endsWith("/callback/corp");

/** Another question to the provider, wherever the answer names its address. */
function asking(answer, change) {
  const address = answer.body?.url ?? answer.location;
  if (!isAtProvider(address)) return answer;
  const url = new URL(address);
  change(url.searchParams);
  url.searchParams.sort();
  return to(answer, url.href);
}

export const OF_PROVIDERS = [
  {
    when: "beginning a sign-in with a provider",
    theirs: "cookies for state, nonce and PKCE, for 15 minutes or until the next sign-in",
    ours: "one for each sign-in, for 10 minutes: tabs do not disturb each other",
    apply: (answer, { path, isSecure }) =>
      path.endsWith("/signin/corp") && answer.cookies.some((cookie) => UNDER_WAY.test(cookie))
        ? { ...answer, cookies: [...without(answer, UNDER_WAY).cookies, underWay(isSecure, "<random>", "Max-Age=600")] }
        : answer,
  },
  {
    when: "coming back from a provider",
    theirs: "takes these cookies away if all went well",
    ours: "in any case: what was begun is used up",
    apply: (answer, { isSecure, ...request }) => {
      if (!isArrival(request)) return answer;
      const cookies = request.query.has("state") ? [underWay(isSecure, "", "Max-Age=0")] : [];
      return { ...answer, cookies: [...without(answer, UNDER_WAY).cookies, ...cookies].sort() };
    },
  },
  {
    when: "what a provider is asked",
    theirs: "all that the query of `POST signin` says",
    ours: "of it `prompt`, `login_hint`, `acr_values`, `max_age` and `ui_locales`: a link must not change what is asked for",
    apply: (answer) => asking(answer, (query) => query.delete("audience")),
  },
  {
    when: "what a provider is asked",
    theirs: "nothing about when the user authenticated",
    ours: "`max_age`, so that it says; no longer ago than a session may live",
    apply: (answer, { form }) => asking(answer, (query) => query.set("max_age", `${form.remember === "true" ? REMEMBERED : ABSOLUTE_TIMEOUT}`)),
  },
  {
    when: "`POST signin` with a provider, from a page",
    theirs: "a redirect to the provider",
    ours: "a page that goes on there: the policy of the page with the form would stop the redirect",
    apply: (answer, { about }) => (about === "a form of a page" && isAtProvider(answer.location) ? { ...answer, ...PAGE } : answer),
  },
  {
    when: "coming back when the user said no",
    theirs: "`OAuthCallbackError` (version 5) or `Callback` (version 4)",
    ours: "`AccessDenied`",
    apply: (answer, { about }) =>
      about === "refused" ? { ...answer, location: answer.location.replace(/error=(OAuthCallbackError|Callback)$/, "error=AccessDenied") } : answer,
  },
  {
    when: "coming back from a provider in vain",
    theirs: "`Configuration` (version 5), `OAuthCallback` or `Callback` (version 4)",
    ours: "`OAuthCallbackError`",
    apply: (answer, request) =>
      isArrival(request)
        ? { ...answer, location: answer.location.replace(/error=(Configuration|OAuthCallback|Callback)$/, "error=OAuthCallbackError") }
        : answer,
  },
  {
    when: "coming back from a provider in vain",
    theirs: "to the error page, or to the sign-in page without the target",
    ours: "to the sign-in page with the target, if the sign-in was this browser's",
    apply: (answer, { about, origin, ...request }) => {
      const [, error] = answer.location.match(/\?error=(\w+)$/) ?? [];
      if (!isArrival(request) || !error) return answer;
      const callbackUrl = about === "another state" ? origin : origin + HERE;
      return { ...answer, location: `${origin}/signin?error=${error}&${new URLSearchParams({ callbackUrl })}` };
    },
  },
  {
    when: "coming back while the provider is down",
    theirs: "as any other error",
    ours: "503 and a page that says so",
    apply: (answer, { about }) => (about === "the provider is down" && answer.location.includes("error=") ? { ...answer, ...PAGE, status: 503 } : answer),
  },
  {
    when: "`POST callback` with a provider, version 4",
    theirs: "takes it for an answer of the provider",
    ours: "400: none was asked to answer by a form",
    apply: (answer, { api, method, path }) =>
      api === "nextauth4" && method === "POST" && path.endsWith("/callback/corp") && (answer.body?.url ?? answer.location).endsWith("error=OAuthCallback")
        ? { ...answer, ...BAD_REQUEST }
        : answer,
  },
];
