// What went wrong in words for the person at the terminal; everything else that is thrown is a defect and keeps its stack.

import { readFileSync } from "node:fs";

export class Problem extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The end of a log, for a message. */
export function endOfLog(path, lines = 20) {
  try {
    const text = readFileSync(path, "utf8").trimEnd();
    return text === "" ? "(it is empty)" : text.split("\n").slice(-lines).join("\n");
  } catch (error) {
    return `(cannot read it: ${error.message})`;
  }
}
