/**
 * Gives addresses to machines without giving one twice: what machines have by the informer, plus what was given a moment
 * ago and the informer has not shown yet; what a machine had that is gone is given last (ipam.ts), as far as this process has seen it go. (Between two control planes that both believe to lead, the API's check on
 * VirtualMachine.status.interfaces has the last word.)
 */
import type { Informer } from "../reconcile/informer.ts";
import { allocateInterfaces, type Interface, type Range, Taken } from "./ipam.ts";
import type { VirtualMachine } from "./kinds.ts";

/** Of all networks; the longest gone are forgotten. */
const MOST_RESTING = 10_000;

export class AddressBook {
  /** What machines have, what they were given, and what they were refused. */
  readonly #taken = new Taken();
  /** What machines have by the informer, by uid: of all that it shows. */
  readonly #shown = new Map<string, readonly Interface[]>();
  readonly #given = new Map<string, readonly Interface[]>();
  /** By network and address, the longest gone first. */
  readonly #resting = new Map<string, Interface>();

  /** To be made before the informer runs. */
  constructor(vms: Pick<Informer<VirtualMachine>, "onChange">) {
    vms.onChange((_key, vm, old) => {
      this.#rest(old?.status?.interfaces ?? [], vm?.status?.interfaces ?? []);
      const isGone = old && old.metadata.uid !== vm?.metadata.uid;
      if (isGone) for (const all of [this.#shown, this.#given]) this.#put(all, old, undefined);
      if (vm) this.#put(this.#shown, vm, vm.status?.interfaces ?? []);
      if (vm?.status?.interfaces) this.#put(this.#given, vm, undefined);
    });
  }

  /** The API knows whose these are, though no informer shows it, because what is stored of it has a wrong shape: they are not given again while this process lives. */
  refuse(vm: VirtualMachine, interfaces: readonly Interface[]): void {
    this.#put(this.#given, vm, undefined);
    for (const one of interfaces) this.#taken.add(one);
  }

  /** `used`: what its guest may still have of networks that it is to leave. @throws NoAddress */
  allocate(vm: VirtualMachine, networks: readonly Range[], used: readonly Interface[] = []): Interface[] {
    const uid = vm.metadata.uid ?? "";
    const [shown, given] = [this.#shown.get(uid) ?? [], this.#given.get(uid) ?? []];
    const kept = vm.status?.interfaces ?? given;
    // Only what others have is in its way.
    for (const one of [...shown, ...given]) this.#taken.delete(one);
    for (const one of used) this.#taken.add(one);
    let interfaces: Interface[];
    try {
      interfaces = allocateInterfaces(uid, networks, kept, this.#taken, [...this.#resting.values()]);
    } finally {
      for (const one of used) this.#taken.delete(one);
      for (const one of [...shown, ...given]) this.#taken.add(one);
    }
    // Of one that has gone meanwhile nobody would tell that it is free again.
    if (this.#shown.has(uid)) this.#put(this.#given, vm, interfaces);
    return interfaces;
  }

  #put(
    all: Map<string, readonly Interface[]>,
    { metadata: { uid = "" } }: VirtualMachine,
    interfaces: readonly Interface[] | undefined,
  ): void {
    for (const one of all.get(uid) ?? []) this.#taken.delete(one);
    for (const one of interfaces ?? []) this.#taken.add(one);
    if (interfaces) all.set(uid, interfaces);
    else all.delete(uid);
  }

  #rest(before: readonly Interface[], now: readonly Interface[]): void {
    for (const one of now) this.#resting.delete(keyOf(one));
    const kept = new Set(now.map(keyOf));
    for (const one of before) if (!kept.has(keyOf(one))) this.#resting.set(keyOf(one), one);
    for (const key of this.#resting.keys()) if (this.#resting.size > MOST_RESTING) this.#resting.delete(key);
  }
}

const keyOf = ({ network, address }: Interface) => `${network} ${address}`;
