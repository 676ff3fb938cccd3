/**
 * One-time tickets: who is logged in gets one for a path of the API, and hands it to what cannot log in itself, a page's WebSocket. It is good once,
 * for 30 seconds, for that path, and stands for him who asked for it. Only its hash is kept, in the store: so it is good at any control plane, and
 * used at one it is gone at all (it is deleted by compare-and-swap, and who loses that has no ticket).
 */
import { createHash, randomBytes } from "node:crypto";
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { CompareFailed, type Store } from "../store/store.ts";
import { type Proof, parseProof } from "./proof.ts";
import type { User } from "./service.ts";

const TICKET_TTL_MS = 30_000;
/** Of one user at a time: each is gone when used, or after its time. */
const MOST = 100;
const PREFIX = "consoletickets/";

interface Kept {
  user: User;
  path: string;
  /** Of the object that the path named then. */
  uid: string;
  /** By what he was logged in who asked for it: what is begun by the ticket is good for no longer. */
  by: Proof;
  /** Milliseconds since 1970. */
  expires: number;
}

export interface Ticket {
  ticket: string;
  expires: Date;
}

const keyOf = (ticket: string) => `${PREFIX}${createHash("sha256").update(ticket).digest("hex")}`;

export class Tickets {
  readonly #store: Store;
  readonly #ttlMs: number;
  readonly #now: () => number;

  constructor(
    store: Store,
    { ttlMs = TICKET_TTL_MS, now = Date.now }: { ttlMs?: number; now?: () => number } = {},
  ) {
    this.#store = store;
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  /** Also takes away those whose time is over. @throws ApiError TooManyRequests */
  async issue({ user, by }: { user: User; by: Proof }, path: string, uid: string): Promise<Ticket> {
    const { entries } = await this.#store.range(PREFIX);
    let own = 0;
    for (const { key, value, revision } of entries) {
      const kept = parse(value);
      if (kept && kept.expires > this.#now()) own += Number(kept.user.name === user.name);
      else await this.#take(key, revision);
    }
    if (own >= MOST)
      throw new ApiError(
        "TooManyRequests",
        `${own} tickets of ${user.name} are not used yet; use those first`,
        {
          retryAfterSeconds: Math.ceil(this.#ttlMs / 1000),
        },
      );
    const ticket = randomBytes(32).toString("base64url");
    const expires = this.#now() + this.#ttlMs;
    const kept: Kept = { user: { name: user.name, groups: user.groups }, by, path, uid, expires };
    await this.#store.commit({ key: keyOf(ticket), value: JSON.stringify(kept), expected: 0 });
    return { ticket, expires: new Date(expires) };
  }

  /** Whom it stands for, by what, and for which object; it is gone then. @throws ApiError Unauthorized: unknown, used, run out, or for another path */
  async use(ticket: string, path: string): Promise<{ user: User; by: Proof; uid: string }> {
    const refused = new ApiError(
      "Unauthorized",
      "Unauthorized: the ticket is for something else, was used already, or is older than 30 s; POST to the same path for another one",
    );
    const key = keyOf(ticket);
    const entry = await this.#store.get(key);
    const kept = entry && parse(entry.value);
    if (!entry || !kept || kept.path !== path || kept.expires <= this.#now()) throw refused;
    if (!(await this.#take(key, entry.revision))) throw refused;
    return kept;
  }

  /** @returns whether it was us who took it */
  async #take(key: string, expected: number): Promise<boolean> {
    try {
      await this.#store.commit({ key, value: undefined, expected });
      return true;
    } catch (error) {
      if (error instanceof CompareFailed) return false;
      throw error;
    }
  }
}

function parse(value: string): Kept | undefined {
  const kept: unknown = JSON.parse(value);
  if (!isFields(kept) || !isFields(kept.user)) return undefined;
  const { path, uid, expires } = kept;
  const { name, groups } = kept.user;
  const by = parseProof(kept.by);
  if (typeof path !== "string" || typeof uid !== "string" || typeof expires !== "number") return undefined;
  if (typeof name !== "string" || !Array.isArray(groups) || !by) return undefined;
  return { path, uid, by, expires, user: { name, groups: groups.map(String) } };
}
