// docs/INTEGRATION.md, from which the tests take what they carry out.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const GUIDE = join(dirname(fileURLToPath(import.meta.url)), "../../docs/INTEGRATION.md");

/** The first block of `language` under the heading that begins with `heading`, without the indentation of its list. */
export function block(heading, language) {
  const [, section] = readFileSync(GUIDE, "utf8").split(new RegExp(`^## ${heading}.*$`, "m"));
  const found = section?.split(/^## /m)[0].match(new RegExp("^ *```" + language + "\\n([^]*?)^ *```$", "m"));
  if (!found) throw new Error(`the guide has no block of ${language} under ${heading}`);
  return found[1];
}

/** Replaces what stands for this test's own addresses; the guide must name it. */
export function put(text, from, to) {
  if (!text.includes(from)) throw new Error(`the guide does not say ${from}`);
  return text.replaceAll(from, to);
}
