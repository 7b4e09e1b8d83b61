// The session manager without page loads. Everything here only shortens a way that the plain forms of the page also go: each
// action asks the JSON API, then takes the list afresh from the server, so that there is one renderer of user-supplied text.
//
// The API's address follows from this module's own (MOUNT/assets/sessions.js), so the page works under any path.

import { showTimes } from "./times.js";

const API = new URL("../api/sessions", import.meta.url);
const PATIENCE_MS = 15_000;

const notice = document.getElementById("notice");
const trouble = document.getElementById("alert");
const dialog = document.getElementById("confirm-others");

/** Says a sentence on screen and to a screen reader; an empty one clears. */
function say(sentence, region = notice) {
  for (const each of [notice, trouble]) each.textContent = each === region ? sentence : "";
}

function count(n) {
  return n === 1 ? "1 session ended." : `${n} sessions ended.`;
}

/** One call of the API. Resolves to the answer's JSON, or to null when the page has already been told what to do about it. */
async function ask(method, url, body, form) {
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    say("The server did not answer. Check your connection, then try again.", trouble);
    return null;
  }
  if (response.status === 401) {
    // This session has ended: the server knows where to send its owner.
    location.reload();
    return null;
  }
  if (!response.ok) {
    // The plain form asks for the same thing, and its answer explains itself (a new sign-in asked for, a fault, a limit).
    form.submit();
    return null;
  }
  try {
    return await response.json();
  } catch {
    return {};
  }
}

const actions = {
  async revoke(form) {
    const answer = await ask("DELETE", API, { sessionToken: form.elements.id.value }, form);
    if (!answer) return;
    const row = form.closest("[data-session]");
    const name = row?.querySelector("[data-name]")?.textContent ?? "The device";
    row?.remove();
    await refresh();
    say(answer.revoked === 0 ? `${name} was signed out already.` : `${name} is signed out.`);
    document.getElementById("others-heading")?.focus();
  },

  async "revoke-others"(form) {
    if (!(await confirmed())) return;
    const answer = await ask("DELETE", API, { all: true }, form);
    if (!answer) return;
    await refresh();
    say(count(answer.revoked ?? 0));
    document.getElementById("others-heading")?.focus();
  },

  async label(form) {
    const id = form.elements.id.value;
    const url = new URL(`${API.pathname}/${encodeURIComponent(id)}`, API);
    const answer = await ask("PATCH", url, { label: form.elements.label.value }, form);
    if (!answer) return;
    const details = form.closest("details");
    details.open = false;
    details.querySelector("summary").focus();
    await refresh();
    say(form.elements.label.value.trim() === "" ? "Name removed." : "Name saved.");
  },
};

/** Asks before all other devices are signed out. */
function confirmed() {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const act = actions[form.dataset.action];
  if (!act) return;
  event.preventDefault();
  // A second press while the first is under way asks for nothing new.
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  say("");
  try {
    await act(form);
  } finally {
    delete form.dataset.busy;
  }
});

// What the plain forms report comes in the address; it has been said now, and a reload or a bookmark must not say it again.
if (/[?&](notice|error)=/.test(location.search)) {
  const here = new URL(location.href);
  for (const name of ["notice", "error", "count"]) here.searchParams.delete(name);
  history.replaceState(history.state, "", here);
}

let refreshing = null;

/** Takes the list afresh from the server; calls that overlap share one request. */
function refresh() {
  refreshing ??= takeList().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function takeList() {
  let page;
  try {
    const response = await fetch(location.href, {
      headers: { accept: "text/html" },
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.redirected || response.status === 401) {
      location.reload();
      return;
    }
    if (!response.ok) return;
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    // The list on screen stays; the next action or visit asks again.
    return;
  }
  const fresh = page.getElementById("devices");
  const old = document.getElementById("devices");
  if (!fresh || !old || busyWith(old)) return;

  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...old.querySelectorAll("details[open]")].map((details) => details.id);

  showTimes(fresh);
  old.replaceWith(document.adoptNode(fresh));

  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus();
  const question = page.getElementById("confirm-others-count");
  if (question) document.getElementById("confirm-others-count").textContent = question.textContent;
}

/** Whether the reader is in the middle of something that a new list would take from under his hands. */
function busyWith(list) {
  const typed = [...list.querySelectorAll("input[type=text]")].some((input) => input.value !== input.defaultValue);
  return dialog.open || (typed && list.querySelector("details[open]") !== null);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
// Coming back with the browser's back button may show a kept copy of the page: it must not outlive the session.
addEventListener("pageshow", (event) => {
  if (event.persisted) refresh();
});
