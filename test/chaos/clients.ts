/** Clients that write, read and watch a few keys (Leases) without pause, and keep the history of what they were told. */
import type { HttpClient } from "../../src/client/http.ts";
import { Lease } from "../../src/reconcile/kinds.ts";
import { isApiError } from "../../src/resource/errors.ts";
import type { Read, Watched, WriteOperation } from "./histories.ts";
import type { Random } from "./random.ts";

const KEYS = ["chaos-0", "chaos-1", "chaos-2", "chaos-3"];
const PAUSE_MS = 10;

export class ChaosClients {
  readonly operations: (Read | WriteOperation)[] = [];
  readonly watches: Watched[] = [];
  /** How many writes were acknowledged. */
  acknowledged = 0;
  /** Errors that no client should be told: neither "try again" nor a lost race. */
  readonly odd: string[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];
  readonly #random: Random;
  #serial = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A writer, which reads before it writes. */
  write(client: HttpClient): void {
    this.#running.push(this.#writes(client));
  }

  /** A watch that comes back to where it was when it is cut off. */
  watch(client: HttpClient): void {
    this.#running.push(this.#follows(client));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  async #writes(client: HttpClient): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const key = this.#random.pick(KEYS) ?? "";
      const seen = await this.read(client, key);
      if (seen) await this.#put(client, key, seen.lease);
      await new Promise((resolve) => setTimeout(resolve, this.#random.below(PAUSE_MS)));
    }
  }

  /** @returns undefined when there was no answer */
  async read(client: HttpClient, key: string): Promise<{ lease: Lease | undefined } | undefined> {
    const begin = performance.now();
    try {
      const lease = await client.get(Lease, { name: key });
      const seen = lease && { version: Number(lease.metadata.resourceVersion), value: lease.spec.holder };
      this.operations.push({ kind: "read", key, seen, begin, end: performance.now() });
      return { lease };
    } catch (error) {
      this.#expect(error);
      return undefined;
    }
  }

  async #put(client: HttpClient, key: string, old: Lease | undefined): Promise<void> {
    const value = `v${++this.#serial}`;
    const spec = { holder: value, durationSeconds: 1, renewTime: new Date(0).toISOString() };
    const from = Number(old?.metadata.resourceVersion ?? 0);
    const begin = performance.now();
    const record = (outcome: WriteOperation["outcome"]) =>
      this.operations.push({ kind: "write", key, value, from, outcome, begin, end: performance.now() });
    try {
      const made = old
        ? await client.update(Lease, { ...old, spec })
        : await client.create(Lease, { metadata: { name: key }, spec });
      record({ done: Number(made.metadata.resourceVersion) });
      this.acknowledged++;
    } catch (error) {
      if (isApiError(error, "Conflict", "AlreadyExists", "NotFound")) return;
      this.#expect(error);
      record("unknown");
    }
  }

  async #follows(client: HttpClient): Promise<void> {
    const { signal } = this.#stop;
    let watched: Watched | undefined;
    let from = "";
    while (!signal.aborted) {
      try {
        if (!watched) {
          from = (await client.list(Lease, { signal })).resourceVersion;
          watched = { from: Number(from), events: [] };
          this.watches.push(watched);
        }
        for await (const event of client.watch(Lease, { resourceVersion: from, signal })) {
          if (event.type === "BOOKMARK") {
            from = event.resourceVersion;
            continue;
          }
          const { metadata, spec } = event.object;
          from = metadata.resourceVersion ?? from;
          if (metadata.name.startsWith("chaos-"))
            watched.events.push({ key: metadata.name, version: Number(from), value: spec.holder });
        }
      } catch (error) {
        // History does not reach back to where it was: a new one begins.
        if (isApiError(error, "Expired", "Gone")) watched = undefined;
        else this.#expect(error);
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  #expect(error: unknown): void {
    if (this.#stop.signal.aborted || isApiError(error, "ServiceUnavailable", "Timeout")) return;
    this.odd.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }
}
