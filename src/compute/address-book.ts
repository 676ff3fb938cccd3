/**
 * Gives addresses to machines without giving one twice: what machines have by the informer, plus what was given a moment
 * ago and the informer has not shown yet. (Between two control planes that both believe to lead, the API's check on
 * VirtualMachine.status.interfaces has the last word.)
 */
import type { Informer } from "../reconcile/informer.ts";
import { allocateInterfaces, type Interface, type Subnet } from "./ipam.ts";
import type { VirtualMachine } from "./kinds.ts";

export class AddressBook {
  readonly #vms: Informer<VirtualMachine>;
  readonly #given = new Map<string, Interface[]>();

  constructor(vms: Informer<VirtualMachine>) {
    this.#vms = vms;
    vms.onChange((_key, vm, old) => {
      const uid = (vm ?? old)?.metadata.uid;
      if (uid && (!vm || vm.status?.interfaces)) this.#given.delete(uid);
    });
  }

  /** @throws NoAddress */
  allocate(vm: VirtualMachine, networks: readonly Subnet[]): Interface[] {
    const uid = vm.metadata.uid ?? "";
    const taken = [
      ...this.#vms.list().flatMap((o) => (o.metadata.uid === uid ? [] : (o.status?.interfaces ?? []))),
      ...[...this.#given].flatMap(([other, interfaces]) => (other === uid ? [] : interfaces)),
    ];
    const interfaces = allocateInterfaces(
      uid,
      networks,
      vm.status?.interfaces ?? this.#given.get(uid) ?? [],
      taken,
    );
    this.#given.set(uid, interfaces);
    return interfaces;
  }
}
