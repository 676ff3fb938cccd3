/**
 * Hosts that were taken out: their Host was deleted, and the certificates that they had count no more, though they are good for a year. No list of certificates is
 * kept for it: each says which revision the store had when its host enrolled (OU), which a renewed one says as the one before, and the store has the revision at which
 * each was taken out last. So clocks do not matter, and a restored backup neither, which may not know of enrolments since: revisions never go back, counts would. A host
 * comes in again by a token.
 */

import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { GROUP, type Kind } from "../resource/kind.ts";
import { CompareFailed, OutcomeUnknown, type Store } from "../store/store.ts";
import { storeError } from "./operation-errors.ts";
import type { Service } from "./service.ts";

const PREFIX = "hoststakenout/";

/** What a host's certificate says of it. */
export interface Enrolled {
  name: string;
  /** The store's revision when it enrolled; 0: the certificate does not say. */
  revision: number;
}

const revisionIn = (value: string): number => {
  const read: unknown = JSON.parse(value);
  return isFields(read) ? Number(read.revision ?? 0) : 0;
};

export class TakenOut {
  readonly #store: Store;
  /** By host: the last revision that is too old for it to be in, as this control plane knows it. */
  readonly #revisions = new Map<string, number>();
  #stop: () => void = () => {};

  private constructor(store: Store) {
    this.#store = store;
  }

  static async open(store: Store): Promise<TakenOut> {
    const opened = new TakenOut(store);
    const { entries, revision } = await store.range(PREFIX);
    for (const { key, value } of entries) opened.#learn(key, value);
    opened.#stop = await store.watch(PREFIX, revision, ({ key, value, type }) =>
      opened.#learn(key, type === "delete" ? undefined : value),
    );
    return opened;
  }

  close(): void {
    this.#stop();
  }

  #learn(key: string, value: string | undefined): void {
    const name = key.slice(PREFIX.length);
    if (value === undefined) this.#revisions.delete(name);
    else this.#revisions.set(name, revisionIn(value));
  }

  /** Cheap: it is asked at each request of a host. */
  isIn({ name, revision }: Enrolled): boolean {
    const takenOut = this.#revisions.get(name);
    return takenOut === undefined || revision > takenOut;
  }

  /** What a host that enrols now is to be known by: whoever was taken out before, at whichever control plane, is in by it. */
  revision(): Promise<number> {
    return this.#store.latest();
  }

  /** From now on the host's certificates count no more. @returns takes that back */
  async takeOut(name: string): Promise<() => Promise<void>> {
    const key = PREFIX + name;
    for (;;) {
      const before = await this.#store.get(key);
      // Who enrols after this is written has a higher one, as the writing raises it.
      const value = JSON.stringify({ revision: await this.#store.latest() });
      try {
        const { revision } = await this.#store.commit({ key, value, expected: before?.revision ?? 0 });
        return async () => {
          await this.#store.commit({ key, value: before?.value, expected: revision });
        };
      } catch (error) {
        if (!(error instanceof CompareFailed)) throw error;
      }
    }
  }
}

/** Of a deletion that failed, or may have: what is left of it, and what mends that. */
function mayBeOut(error: unknown, name: string): unknown {
  if (!(error instanceof ApiError)) return error;
  const { reason, message, details, cause } = error;
  const left = `host ${name} may be taken out all the same, and then its agent is refused though its Host is there: ask for the deletion again`;
  return new ApiError(reason, `${message}; ${left}`, details, { cause });
}

/** The service, whose deletion of a Host takes the host out. */
export function withTakenOut(service: Service, takenOut: TakenOut): Service {
  const isHost = (kind: Kind) => kind.group === GROUP && kind.plural === "hosts";
  return {
    kinds: service.kinds,
    get: (...all) => service.get(...all),
    list: (...all) => service.list(...all),
    watch: (...all) => service.watch(...all),
    create: (...all) => service.create(...all),
    update: (...all) => service.update(...all),
    patch: (...all) => service.patch(...all),
    async delete(kind, namespace, name, request) {
      if (!isHost(kind) || request.dryRun) return service.delete(kind, namespace, name, request);
      // What is refused, because machines are on it, leaves it in.
      await service.delete(kind, namespace, name, { ...request, dryRun: true });
      // Before it is deleted: of a control plane that dies in between, the deletion can be asked for again.
      const takeBack = await takenOut.takeOut(name).catch((error: unknown) => {
        throw error instanceof OutcomeUnknown ? mayBeOut(storeError(error), name) : error;
      });
      try {
        return await service.delete(kind, namespace, name, request);
      } catch (error) {
        const mayBeDone = error instanceof Error && error.cause instanceof OutcomeUnknown;
        const isIn =
          !mayBeDone &&
          (await takeBack().then(
            () => true,
            () => false,
          ));
        throw isIn ? error : mayBeOut(error, name);
      }
    },
  };
}
