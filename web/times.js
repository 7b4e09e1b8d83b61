// Shows each <time datetime> in the reader's own language and time zone: near ones relative ("5 minutes ago"), far ones as a
// date, the exact moment in the tooltip. Without this module the page shows the same moments in UTC.

// Spelled out ("1 day ago", never "yesterday"): what is counted here is hours, not midnights.
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "always" });
const now = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(0, "second");
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The words for a moment, as seen from another; both in milliseconds since the epoch. */
function words(at, from) {
  const away = at - from;
  const size = Math.abs(away);
  if (size < MINUTE) return now;
  if (size < HOUR) return relative.format(Math.trunc(away / MINUTE), "minute");
  if (size < DAY) return relative.format(Math.trunc(away / HOUR), "hour");
  if (size < 60 * DAY) return relative.format(Math.trunc(away / DAY), "day");
  return day.format(at);
}

/** Rewrites the times under `root`. One that cannot be parsed keeps the server's text. */
export function showTimes(root = document) {
  const from = Date.now();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = Date.parse(element.dateTime);
    if (Number.isNaN(at)) continue;
    const text = words(at, from);
    if (element.textContent !== text) element.textContent = text;
    element.title = exact.format(at);
  }
}

showTimes();
setInterval(() => {
  if (!document.hidden) showTimes();
}, 30 * SECOND);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) showTimes();
});
