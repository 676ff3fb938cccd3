/**
 * Sessions of browsers: who signs in with a bearer token gets a cookie in its place, which no script of a page can read.
 *
 *   POST /session {"token": …}  -> 201, Set-Cookie    the token is checked as in any request
 *   DELETE /session             -> the session ends; its cookie is good no more, wherever it was copied to
 *
 * The cookie is 256 random bits; the store has only its hash, with whose it is and the hash of the token (or, of an OIDC login, until when): so a
 * session outlives restarts, is good at every control plane that knows the token (an OIDC login: at every one), and ends there with the token. Tokens
 * are a file of each machine (tokens.ts): the control planes of other machines know one, and of its end, once they have that file. Each control plane
 * looks at the store again after 5 seconds at most: so long a session may live on at another one than where it was ended.
 *
 * Against requests that another site's page makes with the cookie (CSRF): SameSite=Strict, and `refuseForeignWrite`, because pages of another
 * port or subdomain count as the same site.
 */
import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { CompareFailed, type Store } from "../store/store.ts";
import type { User } from "./service.ts";

/** The name's prefix makes browsers insist on Secure and on this very host. */
const COOKIE = "__Host-vireo";
const TTL_MS = 12 * 3600_000;
/** For how long what the store said is taken as true. */
const FRESH_MS = 5000;
const PREFIX = "sessions/";
/** Of one user: who signs in once more loses the oldest, and nobody else anything. */
const MOST_OF_USER = 20;
/** Those remembered in memory. */
const MOST_KNOWN = 10_000;

const hashOf = (text: string) => createHash("sha256").update(text).digest("hex");

/** What a session stands for: a token of ours, by hash, or an OIDC provider's user. Milliseconds since 1970. */
export interface Kept {
  token?: string;
  /** Whose the token was. */
  by?: string;
  user?: User;
  expires: number;
}

interface Known {
  kept: Kept | undefined;
  readAt: number;
}

export class Sessions {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();

  constructor(store: Store, { now = Date.now }: { now?: () => number } = {}) {
    this.#store = store;
    this.#now = now;
  }

  /**
   * Also takes away those whose time is over and those that cannot be read; and of the user's own, when they are too many, the oldest, first of all
   * those whose token `isKnown` (by its hash) does not know. @returns the Set-Cookie header, and until when
   */
  async begin(
    of: { token: string; user: User } | { user: User; expires: number },
    isKnown: (token: string) => boolean = () => true,
  ): Promise<{ cookie: string; expires: Date }> {
    const { entries } = await this.#store.range(PREFIX);
    const own: { key: string; revision: number; gone: boolean }[] = [];
    for (const { key, value, revision } of entries) {
      const kept = parse(value);
      if (!kept || !this.#isGood(kept)) await this.#remove(key, revision);
      else if (ownerOf(kept) === of.user.name)
        own.push({ key, revision, gone: kept.token !== undefined && !isKnown(kept.token) });
    }
    // None is ever written again: by revision they are as they were begun.
    own.sort((a, b) => Number(b.gone) - Number(a.gone) || a.revision - b.revision);
    for (const { key, revision } of own.slice(0, Math.max(0, own.length + 1 - MOST_OF_USER))) {
      await this.#remove(key, revision);
      this.#remember(key, undefined);
    }
    const id = randomBytes(32).toString("base64url");
    const most = this.#now() + TTL_MS;
    const kept: Kept =
      "token" in of
        ? { token: hashOf(of.token), by: of.user.name, expires: most }
        : { user: of.user, expires: Math.min(of.expires, most) };
    await this.#store.commit({ key: keyOf(id), value: JSON.stringify(kept), expected: 0 });
    this.#remember(keyOf(id), kept);
    return { cookie: cookieHeader(id, TTL_MS / 1000), expires: new Date(kept.expires) };
  }

  /** What the request's cookie stands for; undefined without a cookie. @throws ApiError Unauthorized: it is good no more */
  async find(request: IncomingMessage): Promise<{ kept: Kept; key: string } | undefined> {
    const id = cookieOf(request);
    if (id === undefined) return undefined;
    const key = keyOf(id);
    const known = this.#known.get(key);
    const kept = known && this.#isFresh(known) ? known.kept : await this.#read(key);
    if (!kept || !this.#isGood(kept))
      throw new ApiError("Unauthorized", "Unauthorized: the session has ended; sign in again");
    return { kept, key };
  }

  /** Ends the request's session, if it has one. @returns the Set-Cookie header that takes the cookie away */
  async end(request: IncomingMessage): Promise<string> {
    const id = cookieOf(request);
    if (id !== undefined) {
      const entry = await this.#store.get(keyOf(id));
      if (entry) await this.#remove(entry.key, entry.revision);
      this.#remember(keyOf(id), undefined);
    }
    return cookieHeader("", 0);
  }

  #isGood(kept: Kept | undefined): boolean {
    return kept !== undefined && kept.expires > this.#now();
  }

  /** Not either what was read later than now: the clock was put right since. */
  #isFresh({ readAt }: { readAt: number }): boolean {
    return Math.abs(this.#now() - readAt) < FRESH_MS;
  }

  /** Asked every few seconds of what runs on: answers at once by what is known, and has the store asked for the next time. */
  isStillGood(key: string): boolean {
    const known = this.#known.get(key);
    if (!known || !this.#isFresh(known)) void this.#read(key).catch(() => {});
    return !known || this.#isGood(known.kept);
  }

  async #read(key: string): Promise<Kept | undefined> {
    const entry = await this.#store.get(key);
    const kept = entry && parse(entry.value);
    this.#remember(key, kept);
    return kept;
  }

  #remember(key: string, kept: Kept | undefined): void {
    this.#known.delete(key);
    this.#known.set(key, { kept, readAt: this.#now() });
    // Invented cookies push out the oldest; those are read again when they are needed.
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_KNOWN) break;
      this.#known.delete(oldest);
    }
  }

  async #remove(key: string, expected: number): Promise<void> {
    try {
      await this.#store.commit({ key, value: undefined, expected });
    } catch (error) {
      // Somebody else took it away.
      if (!(error instanceof CompareFailed)) throw error;
    }
  }
}

const keyOf = (id: string) => `${PREFIX}${hashOf(id)}`;

function cookieOf({ headers }: IncomingMessage): string | undefined {
  return new RegExp(`(?:^|; *)${COOKIE}=([A-Za-z0-9_-]{43})(?:;|$)`).exec(headers.cookie ?? "")?.[1];
}

const cookieHeader = (value: string, seconds: number) =>
  `${COOKIE}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; Secure; SameSite=Strict`;

/**
 * Of a request that a session's cookie came with: whether a page of this very server made it.
 * @throws ApiError Forbidden for a write of any other page, or of one that cannot be told
 */
export function refuseForeignWrite({ method, headers }: IncomingMessage): void {
  if (method === "GET" || method === "HEAD") return;
  const { origin, host, "sec-fetch-site": site } = headers;
  const own = origin !== undefined && URL.canParse(origin) && new URL(origin).host === host;
  if (site === "same-origin" ? own || origin === undefined : site === undefined && own) return;
  throw new ApiError(
    "Forbidden",
    `a page of ${origin ?? "an unknown site"} may not write with the session of this one; other clients use a bearer token`,
  );
}

const ownerOf = ({ by, user }: Kept): string | undefined => by ?? user?.name;

/** Undefined of what is none, whoever wrote it. */
function parse(value: string): Kept | undefined {
  let kept: unknown;
  try {
    kept = JSON.parse(value);
  } catch {
    return undefined;
  }
  if (!isFields(kept) || typeof kept.expires !== "number") return undefined;
  const { token, by, user, expires } = kept;
  if (typeof token === "string") return { token, ...(typeof by === "string" ? { by } : {}), expires };
  if (!isFields(user) || typeof user.name !== "string" || !Array.isArray(user.groups)) return undefined;
  return { user: { name: user.name, groups: user.groups.map(String) }, expires };
}
