/** `vireo token`: bearer tokens of users, made, listed and revoked in the state folder; a running server takes it up at once. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Tokens } from "../api/tokens.ts";
import type { StatePaths } from "./paths.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

function open(paths: StatePaths): Tokens {
  if (!existsSync(paths.pki))
    throw new UserError(`${paths.state}: there is no installation here; vireo up makes one`);
  return new Tokens(join(paths.pki, "tokens.json"));
}

/** Prints the token, and nothing else, so that it can be taken into a variable. @throws UserError */
export function tokenCreate(
  paths: StatePaths,
  user: string,
  options: { group: string[]; ttlMs?: number },
  print: (line: string) => void,
): void {
  if (!/^[\x21-\x7e]+$/.test(user) || user.startsWith("system:"))
    throw new UserError(
      `user "${user}": letters, digits and signs without spaces are needed, not starting with system:`,
    );
  const { group: groups, ttlMs } = options;
  print(open(paths).addUser({ name: user, groups }, ttlMs === undefined ? {} : { ttlMs }));
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
