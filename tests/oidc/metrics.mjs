// What hallpass counts, as its monitoring reads it.

export const METRICS_SECRET = "a secret of the monitoring, for the tests only".replaceAll(" ", "-");

/** The counter of this name with these labels; undefined if it is not there. */
export async function counted(hallpass, name, provider, outcome) {
  const response = await fetch(`${hallpass.origin}/metrics`, {
    headers: { authorization: `Bearer ${METRICS_SECRET}` },
    signal: AbortSignal.timeout(15_000),
  });
  const start = `hallpass_${name}_total{provider="${provider}",outcome="${outcome}"} `;
  const line = (await response.text()).split("\n").find((each) => each.startsWith(start));
  return line && Number(line.slice(start.length));
}
