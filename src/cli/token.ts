/** `vireo token`: bearer tokens of users, made, listed and revoked in the state folder; a running server takes it up at once. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Tokens } from "../api/tokens.ts";
import type { StatePaths } from "./paths.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "90s", "30m", "12h", "7d" in milliseconds. @throws UserError */
export function parseTtl(text: string): number {
  const [, digits, unit = ""] = /^([1-9][0-9]{0,6})([smhd])$/.exec(text) ?? [];
  const scale = UNITS[unit];
  if (!digits || !scale)
    throw new UserError(`--ttl ${text}: a number and a unit are needed, such as 30m, 12h or 7d`);
  return Number(digits) * scale;
}

function open(paths: StatePaths): Tokens {
  if (!existsSync(paths.pki))
    throw new UserError(`${paths.state}: there is no installation here; vireo up makes one`);
  return new Tokens(join(paths.pki, "tokens.json"));
}

/** Prints the token, and nothing else, so that it can be taken into a variable. @throws UserError */
export function tokenCreate(
  paths: StatePaths,
  user: string,
  options: { group: string[]; ttl?: string },
  print: (line: string) => void,
): void {
  if (!/^[\x21-\x7e]+$/.test(user) || user.startsWith("system:"))
    throw new UserError(
      `user "${user}": letters, digits and signs without spaces are needed, not starting with system:`,
    );
  const ttl = options.ttl === undefined ? {} : { ttlMs: parseTtl(options.ttl) };
  print(open(paths).addUser({ name: user, groups: options.group }, ttl));
}

export function tokenList(paths: StatePaths, print: (line: string) => void): void {
  const rows = open(paths)
    .listUsers()
    .map(({ id, user, expires }) => [
      id,
      user.name,
      user.groups.join(",") || "-",
      expires === undefined ? "never" : new Date(expires).toISOString(),
    ]);
  print(table(["ID", "USER", "GROUPS", "EXPIRES"], rows));
}

/** @throws UserError when there is no such token */
export function tokenRevoke(paths: StatePaths, id: string, print: (line: string) => void): void {
  if (!open(paths).revoke(id))
    throw new UserError(`token ${id}: there is none with this id; vireo token list shows them`);
  print(`token ${id} is revoked`);
}
