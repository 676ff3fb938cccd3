/** Watches on instances of other hosts, for as long as one of ours needs them: the other end of a migration, a predecessor. */
import type { Client, ObjectName } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";

export class Peers {
  readonly #context: { client: Client; log: Logger; signal: AbortSignal };
  readonly #onChange: (key: string) => void;
  readonly #watches = new Map<
    string,
    { peer: string; stop: AbortController; informer: Informer<Instance> }
  >();

  constructor(
    context: { client: Client; log: Logger; signal: AbortSignal },
    onChange: (key: string) => void,
  ) {
    this.#context = context;
    this.#onChange = onChange;
  }

  /** Calls back for `key` on every change of `peer`, until release(key) or a watch of another peer for it. */
  watch(key: string, peer: ObjectName): void {
    if (this.#watches.get(key)?.peer === peer.name) return;
    this.release(key);
    const { client, log, signal } = this.#context;
    const stop = new AbortController();
    const informer = new Informer(client, Instance, {
      ...(peer.namespace ? { namespace: peer.namespace } : {}),
      fieldSelector: `metadata.name=${peer.name}`,
      log,
    });
    this.#watches.set(key, { peer: peer.name, stop, informer });
    informer.onChange(() => this.#onChange(key));
    void informer.run(AbortSignal.any([stop.signal, signal]));
  }

  /** The peer as last seen: what it says of its own end holds for ever, the rest may be old. Undefined before the first look. */
  seen(key: string): Instance | undefined {
    return this.#watches.get(key)?.informer.list()[0];
  }

  release(key: string): void {
    this.#watches.get(key)?.stop.abort();
    this.#watches.delete(key);
  }
}
