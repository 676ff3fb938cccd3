/** The networks of the estate on this host, kept in line with what the API says, and what machines here have of them. */
import type { Client } from "../../client/client.ts";
import type { Host } from "../../compute/hosts/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { Network } from "../../compute/networks/kinds.ts";
import { Controller } from "../../reconcile/controller.ts";
import type { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { NicConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { failedTo } from "../reasons.ts";
import type { Trace } from "../traces.ts";
import type { Networking } from "./network.ts";
import type { Reservation } from "./network-dhcp.ts";
import type { TapLimits } from "./network-limits.ts";
import { tapName } from "./network-names.ts";

/** Why a machine has QEMU's user network, for users. */
export const NO_TAPS =
  "the agent of its host is not root, so there are no taps: it has QEMU's user network, cannot be reached from outside, and its spec.networkLimits do not hold; run the agent as root";

/** After a machine was connected to a network, ms. */
const LOOK_MS = 10_000;

const isRoot = () => process.getuid?.() === 0;

const tapLimits = ({
  receiveBytesPerSecond: receive,
  sendBytesPerSecond: send,
}: NonNullable<Instance["spec"]["interfaces"][number]["limits"]> = {}): TapLimits => ({
  ...(receive === undefined ? {} : { receive: parseBytes(receive) }),
  ...(send === undefined ? {} : { send: parseBytes(send) }),
});

/** What of Networking is needed here. */
export type HostNetworking = Pick<
  Networking,
  "ensure" | "ensureKnown" | "remove" | "ensureTap" | "removeTap" | "guard" | "traces"
>;

/** Each to be run by whoever has made it. */
interface Informers {
  hosts: Informer<Host>;
  networks: Informer<Network>;
  /** Of this host. */
  instances: Informer<Instance>;
}

export class HostNetworks {
  readonly #client: Client;
  readonly #networking: HostNetworking;
  readonly #log: Logger;
  readonly #hosts: Informer<Host>;
  readonly #networks: Informer<Network>;
  readonly #instances: Informer<Instance>;
  /** Whether the informers have had their first look: what was made for those that are known before would be taken from all others. */
  #isKnown = false;
  /** Has a network looked after, soon. */
  #look: (network: string) => void = () => {};

  constructor(
    { client, networking, log }: { client: Client; networking: HostNetworking; log: Logger },
    { hosts, networks, instances }: Informers,
  ) {
    this.#client = client;
    this.#networking = networking;
    this.#log = log;
    this.#hosts = hosts;
    this.#networks = networks;
    this.#instances = instances;
  }

  /** Looks after them until the signal aborts; resolves after the first look. The informers have had theirs. */
  async start(signal: AbortSignal): Promise<void> {
    this.#isKnown = true;
    // One network that cannot be made is tried again, and does not keep the others from being made.
    const controller = new Controller({
      name: "networks",
      reconcile: async (name) => {
        const network = this.#networks.list().find(({ metadata }) => metadata.name === name);
        await (network ? this.#ensure(network) : this.#networking.remove(name));
      },
      log: this.#log,
      workers: 1,
    });
    const ensureAll = () => {
      for (const { metadata } of this.#networks.list()) controller.enqueue(metadata.name);
    };
    void controller.run(signal);
    const guard = () => this.guard().catch((error: unknown) => this.#log.warn("network.guard", { error }));
    this.#look = (network) => controller.enqueue(network, LOOK_MS);
    const peers = () => JSON.stringify(this.#peers());
    let before = peers();
    ensureAll();
    await Promise.all([controller.idle(), guard()]);
    this.#hosts.onChange(() => {
      // Heartbeats and facts change hosts often; only addresses matter here.
      if (peers() === before) return;
      before = peers();
      ensureAll();
    });
    this.#networks.onChange((name) => {
      ensureAll();
      controller.enqueue(name);
      void guard();
    });
  }

  /** What may come out of the taps of this host's runs is as their networks say. No-op without root, which has no taps, and before the start. */
  async guard(): Promise<void> {
    if (!isRoot() || !this.#isKnown) return;
    const networks = new Map(this.#networks.list().map((network) => [network.metadata.name, network]));
    const nics = this.#instances.list().flatMap(({ metadata, spec }) =>
      spec.interfaces.flatMap(({ network: name, mac, address, limits }) => {
        const network = networks.get(name);
        const tap = tapName({ uid: metadata.uid ?? "", mac });
        return network ? [{ tap, mac, address, network, limits: tapLimits(limits) }] : [];
      }),
    );
    await this.#networking.guard(nics);
  }

  #ensure(network: Network): Promise<void> {
    const { name } = network.metadata;
    return this.#networking.ensure(network, this.#peers(), this.#reservations(name));
  }

  #peers(): string[] {
    return this.#hosts
      .list()
      .flatMap((host) => host.status?.address ?? [])
      .sort();
  }

  #reservations(network: string, also?: Instance): Reservation[] {
    const instances = new Map(this.#instances.list().map((instance) => [instance.spec.vmUid, instance]));
    if (also) instances.set(also.spec.vmUid, also);
    return [...instances.values()].flatMap((instance) =>
      instance.spec.interfaces
        .filter((nic) => nic.network === network)
        .map(({ mac, address }) => ({
          mac,
          address,
          hostname: instance.spec.guest?.hostname ?? instance.spec.vm,
        })),
    );
  }

  /** A tap for each of its networks, made when it is missing; QEMU's user network where there can be none. @throws PrepareError; ApiError */
  async nics(instance: Instance, user: { uid: number; gid: number }): Promise<NicConfig[]> {
    const nics: NicConfig[] = [];
    for (const nic of instance.spec.interfaces) {
      const { network: name, mac, port } = nic;
      const network = this.#networks.get(name) ?? (await this.#client.get(Network, { name }));
      if (!network) throw new PrepareError(`spec.networks: there is no Network ${name}`);
      const backend = await this.#backend(network, nic, user, instance);
      nics.push({ mac, mtu: network.spec.mtu, backend, ...(port === undefined ? {} : { port }) });
    }
    return nics;
  }

  async #backend(
    network: Network,
    { mac, address, limits }: Instance["spec"]["interfaces"][number],
    user: { uid: number; gid: number },
    instance: Instance,
  ): Promise<NicConfig["backend"]> {
    if (!isRoot()) {
      this.#log.warn("network.user", { network: network.metadata.name, reason: NO_TAPS });
      return { user: true };
    }
    if (!this.#isKnown)
      throw new ApiError(
        "ServiceUnavailable",
        "the agent has only just started, and no control plane has told it yet which hosts and machines its networks have; it tries again",
      );
    try {
      const { name } = network.metadata;
      // What somebody else has changed of it does not hold a machine up; it is put right soon.
      await this.#networking.ensureKnown(network, this.#peers(), this.#reservations(name, instance));
      this.#look(name);
      return {
        tap: await this.#networking.ensureTap(
          network,
          { uid: instance.metadata.uid ?? "", mac, address },
          user,
          tapLimits(limits),
        ),
      };
    } catch (error) {
      return failedTo(`connect it to the network ${network.metadata.name}`)(error);
    }
  }

  async removeTap(ofRun: { uid: string; mac: string }): Promise<void> {
    await this.#networking.removeTap(ofRun);
  }

  /** What this installation has made here. */
  async traces(): Promise<Trace[]> {
    await this.guard();
    return isRoot() ? this.#networking.traces() : [];
  }
}
