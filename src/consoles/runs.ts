/**
 * Which run a machine is at the moment, as long as somebody looks on: runs come and go (a migration, a restart), the viewer stays. It follows
 * the API as every client does, so it makes no difference at which control plane the viewer is.
 */
import type { Client } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { Informer } from "../reconcile/informer.ts";
import { ApiError } from "../resource/errors.ts";
import type { Place } from "./agent-link.ts";

export interface Run extends Place {
  /** Of the Instance. */
  uid: string;
}

/** In these its QEMU is there. */
const THERE = ["Starting", "Running", "Stopping"];

export class Runs {
  readonly #client: Client;
  readonly #vms: Informer<VirtualMachine>;
  readonly #instances: Informer<Instance>;
  readonly #key: string;
  readonly #uid: string;
  readonly #waiting = new Set<() => void>();

  /** Follows it until the signal aborts. @throws ApiError when it has */
  static async open(client: Client, vm: VirtualMachine, signal: AbortSignal): Promise<Runs> {
    const runs = new Runs(client, vm, signal);
    const informers = [runs.#vms, runs.#instances];
    await Promise.all(informers.map((one) => Promise.race([one.synced, one.run(signal)])));
    if (signal.aborted) throw new ApiError("BadRequest", "the client has gone");
    return runs;
  }

  /** Not followed yet. */
  private constructor(client: Client, { metadata }: VirtualMachine, signal: AbortSignal) {
    const { name, namespace = "" } = metadata;
    this.#client = client;
    this.#uid = metadata.uid ?? "";
    this.#key = `${namespace}/${name}`;
    this.#vms = new Informer(client, VirtualMachine, { namespace, fieldSelector: `metadata.name=${name}` });
    this.#instances = new Informer(client, Instance, { namespace, fieldSelector: `spec.vm=${name}` });
    const wake = () => {
      for (const each of [...this.#waiting]) each();
    };
    this.#vms.onChange(wake);
    this.#instances.onChange(wake);
    signal.addEventListener("abort", wake, { once: true });
  }

  /** Why nothing is to be waited for; undefined while it runs or will. */
  get over(): string | undefined {
    const vm = this.#vms.get(this.#key);
    if (vm?.metadata.uid !== this.#uid) return "the machine was deleted";
    if (this.#instance) return undefined;
    if (vm.status?.phase === "Suspended") return "the machine is suspended";
    return vm.status?.phase === "Stopped" || !vm.spec.running ? "the machine is stopped" : undefined;
  }

  get #instance(): Instance | undefined {
    return this.#instances
      .list()
      .findLast(
        ({ spec, status }) =>
          spec.vmUid === this.#uid && status?.custody === "Held" && THERE.includes(status.phase ?? ""),
      );
  }

  /** The uid of the run that it is now. */
  get current(): string | undefined {
    return this.#instance?.metadata.uid;
  }

  /** @throws ApiError ServiceUnavailable when its host cannot show it */
  async run(): Promise<Run | undefined> {
    const instance = this.#instance;
    if (!instance) return undefined;
    const { host = "" } = instance.spec;
    const found = await this.#client.get(Host, { name: host });
    const address = found?.status?.consoleAddress;
    if (!address)
      throw new ApiError(
        "ServiceUnavailable",
        `the agent of host ${host} serves no consoles; is it of this version?`,
      );
    return { uid: instance.metadata.uid ?? "", host, address };
  }

  /** Resolves when something about the machine has changed, or the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}
