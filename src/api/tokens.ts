/**
 * Bearer tokens and the bootstrap tokens of hosts. The file holds only SHA-256 hashes: tokens are 256 random bits, so a plain hash
 * cannot be turned back, and a copy of the file lets nobody in. Another process (the CLI) may add and revoke tokens: the file is
 * looked at with every request and read again when it has changed, so that a revoked token is refused at once. Who changes it holds a lock,
 * so that of several processes that do so at once none undoes what another did.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { ApiError } from "../resource/errors.ts";
import { withLock, writeSecret } from "./secret-file.ts";
import type { User } from "./service.ts";

interface TokenEntry {
  hash: string;
  /** Absent for a bootstrap token. */
  user?: User;
  /** Milliseconds since 1970; absent: for ever. */
  expires?: number;
  /** The only host that may enrol with this bootstrap token. */
  host?: string;
}

/** What may be told of a token: enough to revoke it, not to use it. */
export interface TokenInfo {
  /** The first 12 digits of its hash. */
  id: string;
  user: User;
  /** Milliseconds since 1970; absent: for ever. */
  expires?: number;
}

const idOf = (entry: TokenEntry) => entry.hash.slice(0, 12);
/** What is kept of a token: SHA-256, in hex. */
export const hashOf = (token: string) => createHash("sha256").update(token).digest("hex");

const isAlive = ({ expires }: TokenEntry) => expires === undefined || expires > Date.now();

function parseEntries(text: string, path: string): TokenEntry[] {
  const parsed: unknown = JSON.parse(text);
  if (!Array.isArray(parsed)) throw new Error(`${path}: not a file of tokens; delete it to start anew`);
  // Written by this module alone, mode 0600.
  return parsed as TokenEntry[];
}

export class Tokens {
  readonly #path: string;
  #entries: TokenEntry[] = [];
  /** Which file was read last: it is replaced as a whole, so inode and time tell versions apart. */
  #seen = "";

  constructor(path: string) {
    this.#path = path;
    this.#refresh();
  }

  /** A new token that logs `user` in, for ever or for `ttlMs`. Shown once: only its hash is kept. */
  addUser(user: User, options: { ttlMs?: number } = {}): string {
    return this.#add({
      user,
      ...(options.ttlMs === undefined ? {} : { expires: Date.now() + options.ttlMs }),
    });
  }

  /** The users' tokens that are not expired, oldest first. */
  listUsers(): TokenInfo[] {
    this.#refresh();
    return this.#entries.flatMap((entry) =>
      entry.user && isAlive(entry)
        ? [
            {
              id: idOf(entry),
              user: entry.user,
              ...(entry.expires === undefined ? {} : { expires: entry.expires }),
            },
          ]
        : [],
    );
  }

  /** From now on the user's token with this id is refused. @returns whether there was one */
  revoke(id: string): boolean {
    return this.#change((entries) => entries.filter((entry) => !entry.user || idOf(entry) !== id));
  }

  /** A new token for POST /enroll, for any host or for the named one. */
  addBootstrap(options: { ttlMs: number; host?: string }): string {
    return this.#add({
      expires: Date.now() + options.ttlMs,
      ...(options.host === undefined ? {} : { host: options.host }),
    });
  }

  userOf(token: string): User | undefined {
    return this.#find(hashOf(token))?.user;
  }

  /** As userOf, for who has kept only the SHA-256 of the token, in hex. */
  userOfHash(hash: string): User | undefined {
    return this.#find(hash)?.user;
  }

  /** @returns the host that the bootstrap token is bound to, if any. @throws ApiError Unauthorized */
  checkBootstrap(token: string): { host?: string } {
    const entry = this.#find(hashOf(token));
    if (!entry || entry.user)
      throw new ApiError(
        "Unauthorized",
        "token: unknown or expired bootstrap token; `vireo enrol FILE` on the control plane's machine makes a new one",
      );
    return entry.host === undefined ? {} : { host: entry.host };
  }

  #add(entry: Omit<TokenEntry, "hash">): string {
    const token = randomBytes(32).toString("base64url");
    this.#change((entries) => [...entries.filter(isAlive), { hash: hashOf(token), ...entry }]);
    return token;
  }

  /** A comparison of hashes tells nothing about the token by its timing. */
  #find(hash: string): TokenEntry | undefined {
    this.#refresh();
    return this.#entries.find((entry) => entry.hash === hash && isAlive(entry));
  }

  /** Writes what `change` makes of the entries as they are. @returns whether it changed anything */
  #change(change: (entries: readonly TokenEntry[]) => TokenEntry[]): boolean {
    return withLock(`${this.#path}.lock`, () => {
      // What is in memory may be of before somebody else's turn.
      this.#seen = "";
      this.#refresh();
      const next = change(this.#entries);
      if (isDeepStrictEqual(next, this.#entries)) return false;
      writeSecret(this.#path, JSON.stringify(next, undefined, 1));
      this.#refresh();
      return true;
    });
  }

  #refresh(): void {
    const file = statSync(this.#path, { throwIfNoEntry: false });
    const seen = file ? `${file.ino} ${file.mtimeMs} ${file.size}` : "";
    if (seen === this.#seen) return;
    // Without the file no token is known: to delete it revokes all.
    this.#entries = file ? parseEntries(readFileSync(this.#path, "utf8"), this.#path) : [];
    this.#seen = seen;
  }
}
