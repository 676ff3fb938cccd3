/**
 * Bearer tokens and the bootstrap tokens of hosts. The file holds only SHA-256 hashes: tokens are 256 random bits, so a plain hash
 * cannot be turned back, and a copy of the file lets nobody in. Another process (the CLI) may add tokens: the file is read
 * again when a token is not known and the file has changed.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { ApiError } from "../resource/errors.ts";
import { writeSecret } from "./secret-file.ts";
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

const hashOf = (token: string) => createHash("sha256").update(token).digest("hex");

function parseEntries(text: string, path: string): TokenEntry[] {
  const parsed: unknown = JSON.parse(text);
  if (!Array.isArray(parsed)) throw new Error(`${path}: not a file of tokens; delete it to start anew`);
  // Written by this module alone, mode 0600.
  return parsed as TokenEntry[];
}

export class Tokens {
  readonly #path: string;
  #entries: TokenEntry[] = [];
  #changed = -1;

  constructor(path: string) {
    this.#path = path;
    this.#read();
  }

  /** A new token that logs `user` in. Shown once: only its hash is kept. */
  addUser(user: User): string {
    return this.#add({ user });
  }

  /** A new token for POST /enroll, for any host or for the named one. */
  addBootstrap(options: { ttlMs: number; host?: string }): string {
    return this.#add({
      expires: Date.now() + options.ttlMs,
      ...(options.host === undefined ? {} : { host: options.host }),
    });
  }

  userOf(token: string): User | undefined {
    return this.#find(token)?.user;
  }

  /** @returns the host that the bootstrap token is bound to, if any. @throws ApiError Unauthorized */
  checkBootstrap(token: string): { host?: string } {
    const entry = this.#find(token);
    if (!entry || entry.user)
      throw new ApiError(
        "Unauthorized",
        "token: unknown or expired bootstrap token; make a new one on the control plane",
      );
    return entry.host === undefined ? {} : { host: entry.host };
  }

  #add(entry: Omit<TokenEntry, "hash">): string {
    this.#read();
    const token = randomBytes(32).toString("base64url");
    const now = Date.now();
    this.#entries = [
      ...this.#entries.filter((old) => old.expires === undefined || old.expires > now),
      { hash: hashOf(token), ...entry },
    ];
    writeSecret(this.#path, JSON.stringify(this.#entries, undefined, 1));
    this.#changed = statSync(this.#path).mtimeMs;
    return token;
  }

  #find(token: string): TokenEntry | undefined {
    // A comparison of hashes tells nothing about the token by its timing.
    const hash = hashOf(token);
    const look = () => this.#entries.find((entry) => entry.hash === hash);
    let found = look();
    if (!found && this.#isStale()) {
      this.#read();
      found = look();
    }
    return found && (found.expires === undefined || found.expires > Date.now()) ? found : undefined;
  }

  #isStale(): boolean {
    return existsSync(this.#path) && statSync(this.#path).mtimeMs !== this.#changed;
  }

  #read(): void {
    if (!existsSync(this.#path)) return;
    this.#changed = statSync(this.#path).mtimeMs;
    this.#entries = parseEntries(readFileSync(this.#path, "utf8"), this.#path);
  }
}
