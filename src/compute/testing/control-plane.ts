/** A control plane of a test: the real API operations over a real store file, in this process. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Operations } from "../../api/operations.ts";
import { FrozenClient } from "../../api/testing/frozen-client.ts";
import type { Client, ObjectName } from "../../client/client.ts";
import { KINDS } from "../../kinds.ts";
import type { Kind } from "../../resource/kind.ts";
import type { Resource } from "../../resource/object.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import type { Store } from "../../store/store.ts";

export interface TestControlPlane {
  client: Client;
  service: Operations;
  store: Store;
  /** Resolves when the store has done what was asked of it before. */
  idle(): Promise<unknown>;
  close(): Promise<void>;
}

export async function openControlPlane(): Promise<TestControlPlane> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-compute-"));
  const store = await openSqliteStore(join(folder, "store.db"));
  const operations = await Operations.open(store, KINDS);
  return {
    client: new FrozenClient(operations),
    service: operations,
    store,
    idle: () => store.get("idle"),
    close: async () => {
      await operations.close();
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits, bounded, until `look` gives something; the error says what was seen last. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  seen: () => Promise<unknown> = async () => undefined,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) {
      const last = await seen();
      throw new Error(
        `${what} did not happen within ${timeoutMs} ms${last === undefined ? "" : `; seen last: ${JSON.stringify(last, undefined, 1)}`}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until an object is as wanted. */
export function untilObject<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  at: ObjectName,
  what: string,
  wanted: (object: T) => boolean,
  timeoutMs?: number,
): Promise<T> {
  return until(
    `${kind.kind} ${at.name}: ${what}`,
    async () => {
      const object = await client.get(kind, at);
      return object && wanted(object) ? object : undefined;
    },
    () => client.get(kind, at),
    timeoutMs,
  );
}

export function untilGone<T extends Resource>(client: Client, kind: Kind<T>, at: ObjectName): Promise<true> {
  return until(
    `${kind.kind} ${at.name} going`,
    async () => !(await client.get(kind, at)) || undefined,
    () => client.get(kind, at),
  ) as Promise<true>;
}
