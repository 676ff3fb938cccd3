/**
 * Hosts that were taken out: their Host was deleted, and the certificates that they had count no more, though they are good for a year. No list of certificates is
 * kept for it: each says how often its host had been taken out when it enrolled (OU; none: never), which a renewed one says as the one before, and the store has how
 * often each was. So clocks do not matter. A host comes in again by a token.
 */
import { GROUP, type Kind } from "../resource/kind.ts";
import { CompareFailed, OutcomeUnknown, type Store } from "../store/store.ts";
import type { Service } from "./service.ts";

const PREFIX = "hoststakenout/";

/** What a host's certificate says of it. */
export interface Enrolled {
  name: string;
  /** How often it had been taken out before. */
  after: number;
}

const countIn = (value: string | undefined): number => {
  const count: unknown = value === undefined ? 0 : JSON.parse(value);
  return typeof count === "object" && count !== null && "times" in count ? Number(count.times) : 0;
};

export class TakenOut {
  readonly #store: Store;
  /** By host: as this control plane knows it. */
  readonly #times = new Map<string, number>();
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
    this.#times.set(key.slice(PREFIX.length), countIn(value));
  }

  /** Cheap: it is asked at each request of a host. */
  isIn({ name, after }: Enrolled): boolean {
    return after >= (this.#times.get(name) ?? 0);
  }

  /** As the store has it, whichever control plane wrote it. */
  async times(name: string): Promise<number> {
    return countIn((await this.#store.get(PREFIX + name))?.value);
  }

  /** From now on the host's certificates count no more. @returns takes that back */
  async takeOut(name: string): Promise<() => Promise<void>> {
    const key = PREFIX + name;
    for (;;) {
      const before = await this.#store.get(key);
      const value = JSON.stringify({ times: countIn(before?.value) + 1 });
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
      const takeBack = await takenOut.takeOut(name);
      try {
        return await service.delete(kind, namespace, name, request);
      } catch (error) {
        const mayBeDone = error instanceof Error && error.cause instanceof OutcomeUnknown;
        if (!mayBeDone) await takeBack().catch(() => undefined);
        throw error;
      }
    },
  };
}
