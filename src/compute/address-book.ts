/**
 * Gives addresses to machines without giving one twice: what machines have by the informer, plus what was given a moment
 * ago and the informer has not shown yet; what a machine had that is gone is given last (ipam.ts), as far as this process has seen it go. (Between two control planes that both believe to lead, the API's check on
 * VirtualMachine.status.interfaces has the last word.)
 */
import type { Informer } from "../reconcile/informer.ts";
import { allocateInterfaces, type Interface, type Range } from "./ipam.ts";
import type { VirtualMachine } from "./kinds.ts";

/** Of all networks; the longest gone are forgotten. */
const MOST_RESTING = 10_000;

export class AddressBook {
  readonly #vms: Informer<VirtualMachine>;
  readonly #given = new Map<string, Interface[]>();
  /** Of machines that no informer shows, because what is stored of them has a wrong shape. */
  readonly #refused: Interface[] = [];

  /** By network and address, the longest gone first. */
  readonly #resting = new Map<string, Interface>();

  constructor(vms: Informer<VirtualMachine>) {
    this.#vms = vms;
    vms.onChange((_key, vm, old) => {
      this.#rest(old?.status?.interfaces ?? [], vm?.status?.interfaces ?? []);
      const uid = (vm ?? old)?.metadata.uid;
      if (uid && (!vm || vm.status?.interfaces)) this.#given.delete(uid);
    });
  }

  /** The API knows whose these are, though we do not: they are not given again while this process lives. */
  refuse(vm: VirtualMachine, interfaces: readonly Interface[]): void {
    this.#given.delete(vm.metadata.uid ?? "");
    this.#refused.push(...interfaces);
  }

  /** `used`: what its guest may still have of networks that it is to leave. @throws NoAddress */
  allocate(vm: VirtualMachine, networks: readonly Range[], used: readonly Interface[] = []): Interface[] {
    const uid = vm.metadata.uid ?? "";
    const taken = [
      ...this.#refused,
      ...used,
      ...this.#vms.list().flatMap((o) => (o.metadata.uid === uid ? [] : (o.status?.interfaces ?? []))),
      ...[...this.#given].flatMap(([other, interfaces]) => (other === uid ? [] : interfaces)),
    ];
    const interfaces = allocateInterfaces(
      uid,
      networks,
      vm.status?.interfaces ?? this.#given.get(uid) ?? [],
      taken,
      [...this.#resting.values()],
    );
    this.#given.set(uid, interfaces);
    return interfaces;
  }

  #rest(before: readonly Interface[], now: readonly Interface[]): void {
    for (const one of now) this.#resting.delete(keyOf(one));
    const kept = new Set(now.map(keyOf));
    for (const one of before) if (!kept.has(keyOf(one))) this.#resting.set(keyOf(one), one);
    for (const key of this.#resting.keys()) if (this.#resting.size > MOST_RESTING) this.#resting.delete(key);
  }
}

const keyOf = ({ network, address }: Interface) => `${network} ${address}`;
