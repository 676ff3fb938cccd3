/** What a user named and is not there. */
import { UserError } from "./user-error.ts";

/** By how people call them: how `vireo get` does. */
const LISTED = {
  machine: "vm",
  snapshot: "snapshots",
  host: "hosts",
  image: "images",
  plan: "plans",
} as const;

/** @param namespace of those that are in one */
export function missing(what: keyof typeof LISTED, name: string, namespace?: string): UserError {
  const where = namespace === undefined ? "" : ` in the namespace ${namespace}`;
  const all = namespace === undefined ? "" : " -A";
  return new UserError(
    `there is no ${what} ${JSON.stringify(name)}${where}; vireo get ${LISTED[what]}${all} lists them`,
  );
}
