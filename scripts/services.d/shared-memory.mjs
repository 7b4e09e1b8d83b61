// What a killed PostgreSQL leaves outside its directory: one small System V segment, whose number is in its pid file.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { find } from "./programs.mjs";

const SEGMENT_LINE = 6;

/** Removes the segment of the PostgreSQL that ran in a member's directory, if one did. */
export function removeSharedMemory(memberDirectory) {
  const file = join(memberDirectory, "data", "postmaster.pid");
  const ipcrm = find("ipcrm");
  if (ipcrm === undefined || !existsSync(file)) return;
  const segment = readFileSync(file, "utf8").split("\n")[SEGMENT_LINE]?.trim().split(/\s+/)[1];
  if (segment === undefined) return;
  try {
    execFileSync(ipcrm, ["-m", segment], { stdio: "ignore" });
  } catch {
    // It is gone already.
  }
}
