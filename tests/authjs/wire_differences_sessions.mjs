// What hallpass answers otherwise than Auth.js about sessions: reading them, and signing in beside or over one.

import { attributes, cookieOf, isRead, redirect, sessionOf, withCookies, without } from "./wire_changes.mjs";
import { HERE, other } from "./wire_table_database.mjs";

/** Days of the default policies, whose first two are those of Auth.js too. */
const MAX_AGE = 30;
const UPDATE_AGE = 1;
const REMEMBERED = 90;

/** Another deadline in the body. */
const endsIn = (answer, days) => ({ ...answer, body: { ...answer.body, expires: `<${days} days from now>` } });
/** Whether Auth.js answers a deadline that this very request has moved. */
const isDue = ({ body }) => Number(body?.expires?.match(/^<(\S+) days from now>$/)?.[1]) <= MAX_AGE - UPDATE_AGE;
const readsAs = (answer, { email }) => answer.body?.user?.email === email;
/** What is read by this user, and by nobody. */
const somebody = (answer, { name, email }) => ({
  ...answer,
  body: { user: { name, email, image: null }, expires: `<${MAX_AGE} days from now>` },
  cookies: [],
});
const nobody = (answer, { api }) => ({ ...answer, body: api === "authjs5" ? null : {}, cookies: [] });
/** The same of a user who has signed in as somebody else: with the token of before (`old`) it is nobody, and its session has ended. */
const readAsOther = (answer, { old, user, ...context }) => ({ ...(old ? nobody(answer, context) : somebody(answer, other(user))), deadlines: [] });

export const OF_SESSIONS = [
  {
    when: "reading the session",
    theirs: "sets its cookie each time",
    ours: "when its expiry has moved",
    // A cookie that ends with the browser has no expiry that could move.
    apply: (answer, { path, about }) =>
      isRead(path) && !(about === "to be remembered" && isDue(answer)) ? without(answer, /session=<(signed|the same) token>/) : answer,
  },
  {
    when: "the request that extends a session",
    theirs: "answers `expires` as it was before",
    ours: "as it is from now on",
    apply: (answer) => (isDue(answer) ? endsIn(answer, MAX_AGE) : answer),
  },
  {
    when: "cookies whose names begin with that of the session cookie",
    theirs: "all are put together to one token",
    ours: "the exact name counts: no other cookie makes a session or ends one",
    apply: (answer, { path, token, longerName, user, ...context }) => {
      // Where Auth.js reads what the exact name says, its answer is no other.
      if (!isRead(path) || !longerName || readsAs(answer, user) === (token === true)) return answer;
      if (token === true) return somebody(answer, user);
      const removal = token === false ? [sessionOf("", context.isSecure, "Max-Age=0")] : [];
      return { ...nobody(answer, context), cookies: removal };
    },
  },
  {
    when: "signing in over a session that is over",
    theirs: "sets its cookie again, with an end in the past: nobody is signed in",
    ours: "a new session",
    apply: (answer, { about, path, user }) => {
      if (isRead(path) && about === "a session that was over" && !readsAs(answer, user)) return { ...somebody(answer, user), deadlines: [MAX_AGE] };
      const isOver = (cookie) => /session=<the same token>/.test(cookie) && cookie.includes("Expires=<-");
      if (!answer.cookies.some(isOver)) return answer;
      return { ...withCookies(answer, (cookie) => (isOver(cookie) ? cookie.replace("<the same token>", "<token>") : cookie)), deadlines: [MAX_AGE] };
    },
  },
  {
    when: "signing in as somebody else, over a session",
    theirs: "refused with `OAuthAccountNotLinked`, since signing in would link",
    ours: "signed in, and the session of before ends",
    apply: (answer, { about, ...context }) => {
      if (about !== "somebody else") return answer;
      if (isRead(context.path)) return readsAs(answer, context.user) ? readAsOther(answer, context) : answer;
      if (!answer.location.includes("error=OAuthAccountNotLinked")) return answer;
      return { ...redirect(answer, context.origin + HERE), cookies: [sessionOf("<token>", context.isSecure)], deadlines: [] };
    },
  },
  {
    when: "signing in with an unknown identity, over a session",
    theirs: "links it to who is signed in",
    ours: "links nothing, since somebody else may have planted that session: an account of its own, if `sign_up` allows it",
    apply: (answer, { about, ...context }) => {
      if (about !== "an identity that nobody has") return answer;
      if (isRead(context.path)) return readsAs(answer, context.user) ? readAsOther(answer, context) : answer;
      return answer.cookies.some((cookie) => cookie.includes("session=<the same token>")) ? { ...answer, deadlines: [] } : answer;
    },
  },
  {
    when: "signing in again",
    theirs: "the same token, and the session is not extended",
    ours: "a new token and a new deadline: who has got hold of the old one has nothing",
    apply: (answer, { old, path, user, ...context }) => {
      if (isRead(path)) return old && readsAs(answer, user) ? nobody(answer, context) : answer;
      const isSame = (cookie) => cookie.includes("session=<the same token>");
      if (!answer.cookies.some(isSame)) return answer;
      return { ...withCookies(answer, (cookie) => cookie.replace("<the same token>", "<token>")), deadlines: answer.deadlines.map(() => MAX_AGE) };
    },
  },
  {
    when: "signing in by password",
    theirs: "a signed token",
    ours: "a session in the database, which can be ended",
    apply: (answer) => withCookies(answer, (cookie) => cookie.replace("session=<signed token>", "session=<token>")),
  },
  {
    when: "signing in",
    theirs: "the cookie stays as long as the session",
    ours: "it ends with the browser; with `remember` it stays, for 90 days by default",
    apply: (answer, { form, about, path }) => {
      const isRemembered = form.remember === "true" || about === "to be remembered";
      const changed = withCookies(answer, (cookie) => {
        if (!/session=<(the same )?token>/.test(cookie)) return cookie;
        const kept = isRemembered ? [`Expires=<${REMEMBERED} days from now>`, `Max-Age=<${REMEMBERED} days>`] : [];
        return attributes(cookie, (all) => [...all.filter((one) => !one.startsWith("Expires=")), ...kept]);
      });
      if (!isRemembered || !answer.deadlines) return changed;
      return { ...(isRead(path) ? endsIn(changed, REMEMBERED) : changed), deadlines: answer.deadlines.map(() => REMEMBERED) };
    },
  },
  {
    when: "signing in",
    theirs: "keeps the CSRF token",
    ours: "a new one, bound to the session",
    apply: (answer, { api, isSecure }) => {
      if (!answer.cookies.some((cookie) => /session=<token>/.test(cookie))) return answer;
      const name = `${isSecure ? "__Host-" : ""}${api === "authjs5" ? "authjs" : "next-auth"}.csrf-token`;
      return { ...answer, cookies: [...answer.cookies, cookieOf(`${name}=<64 hex>|<64 hex>`, isSecure)].sort() };
    },
  },
  {
    when: "removing the session cookie",
    theirs: "`Max-Age=0`",
    ours: "`Expires` in the past too",
    apply: (answer) =>
      withCookies(answer, (cookie) =>
        /session=;/.test(cookie) ? attributes(cookie, (all) => [...all, "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]) : cookie,
      ),
  },
];
