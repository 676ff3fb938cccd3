/** What `vireo doctor` finds: sections, each of one view of things, with findings. */
import { describeError } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { UserError } from "../user-error.ts";

/** problem: does not work, or will not for long; warning: somebody should look; unknown: could not be looked at. */
export type Level = "ok" | "warning" | "problem" | "unknown";

export interface Finding {
  level: Level;
  what: string;
  /** What would mend it. */
  fix?: string;
}

export interface Section {
  name: string;
  /** Where the findings come from: the same thing looks different from elsewhere. */
  view: string;
  findings: Finding[];
}

export const ok = (what: string): Finding => ({ level: "ok", what });
export const warning = (what: string, fix: string): Finding => ({ level: "warning", what, fix });
export const problem = (what: string, fix: string): Finding => ({ level: "problem", what, fix });
export const unknown = (what: string, fix?: string): Finding => ({
  level: "unknown",
  what,
  ...(fix ? { fix } : {}),
});

/** A section whose looking may fail: then that is what is found. */
export async function section(
  name: string,
  view: string,
  look: () => Finding[] | Promise<Finding[]>,
): Promise<Section> {
  try {
    return { name, view, findings: await look() };
  } catch (error) {
    const forUser = error instanceof UserError || error instanceof ApiError;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const what = forUser ? error.message : describeError(error);
    const fix = code === "EACCES" ? "run it as root (sudo)" : undefined;
    return { name, view, findings: [unknown(`could not be looked at: ${what}`, fix)] };
  }
}

/** "3 d", "4 h", "50 s". */
export function formatDuration(ms: number): string {
  const s = Math.round(ms / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "74.9 GiB". */
export function size(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${Number((bytes / 1024 ** power).toFixed(1))} ${UNITS[power]}`;
}

/** "1 problem", "2 problems". */
export const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;
