/** A control plane that can be killed at any moment and started again over the same store file, and the connection to it. */

import { Operations } from "../../src/api/operations.ts";
import { FrozenClient } from "../../src/api/testing/frozen-client.ts";
import type { Client, ListOptions, WatchEvent } from "../../src/client/client.ts";
import { KINDS } from "../../src/kinds.ts";
import { ApiError } from "../../src/resource/errors.ts";
import type { Kind } from "../../src/resource/kind.ts";
import type { Resource } from "../../src/resource/object.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";

interface Incarnation {
  client: Client;
  /** Rejects when it is killed. */
  died: Promise<never>;
  kill: () => Promise<void>;
}

const away = () => new ApiError("ServiceUnavailable", "the control plane does not answer");

export class Server {
  readonly #path: string;
  #now: Incarnation | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** @returns the client of the server's own process */
  async start(): Promise<Client> {
    const store = await openSqliteStore(this.#path);
    const operations = await Operations.open(store, KINDS);
    let onDeath: () => void = () => {};
    const died = new Promise<never>((_resolve, reject) => {
      onDeath = () => reject(away());
    });
    died.catch(() => undefined);
    this.#now = {
      client: new FrozenClient(operations),
      died,
      kill: async () => {
        onDeath();
        await operations.close();
        await store.close();
      },
    };
    return this.#now.client;
  }

  /** kill -9: what was not committed is lost, what was committed may not have been answered. */
  async kill(): Promise<void> {
    const dying = this.#now;
    this.#now = undefined;
    await dying?.kill();
  }

  get isUp(): boolean {
    return this.#now !== undefined;
  }

  /** The client of another process: while the server is down, and for what was under way when it died, calls fail. */
  connection(): Client {
    const call = <T>(make: (client: Client) => Promise<T>): Promise<T> => {
      const now = this.#now;
      if (!now) return Promise.reject(away());
      return Promise.race([make(now.client), now.died]);
    };
    const incarnation = () => this.#now;
    return {
      get: (...args) => call((client) => client.get(...args)),
      list: (...args) => call((client) => client.list(...args)),
      create: (...args) => call((client) => client.create(...args)),
      update: (...args) => call((client) => client.update(...args)),
      updateStatus: (...args) => call((client) => client.updateStatus(...args)),
      patch: (...args) => call((client) => client.patch(...args)),
      delete: (...args) => call((client) => client.delete(...args)),
      async *watch<T extends Resource>(
        kind: Kind<T>,
        options: ListOptions & { resourceVersion: string },
      ): AsyncGenerator<WatchEvent<T>> {
        const now = incarnation();
        if (!now) throw away();
        const events = now.client.watch(kind, options)[Symbol.asyncIterator]();
        for (;;) {
          const next = await Promise.race([events.next(), now.died]);
          if (next.done) return;
          yield next.value;
        }
      },
    };
  }
}
