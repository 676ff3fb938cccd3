/** The numbers that a machine alone has in the whole estate: MACs and addresses, and the user of its QEMU; given here, and the API has the last word. */
import type { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { AddressBook } from "./address-book.ts";
import type { Interface } from "./ipam.ts";
import type { VirtualMachine } from "./kinds.ts";
import type { Network } from "./networks/kinds.ts";
import { UserBook } from "./users/book.ts";

export class MachineNumbers {
  readonly #networks: Informer<Network>;
  readonly #addresses: AddressBook;
  readonly #users: UserBook;

  constructor({ vms, networks }: { vms: Informer<VirtualMachine>; networks: Informer<Network> }) {
    this.#networks = networks;
    this.#addresses = new AddressBook(vms);
    this.#users = new UserBook(vms);
  }

  /** One for each of its networks. @param used what its guest may still have of networks that it is to leave @throws NoAddress */
  interfaces(vm: VirtualMachine, used: readonly Interface[] = []): Interface[] {
    const subnets = vm.spec.networks.flatMap((network) => {
      const subnet = this.#networks.get(network)?.spec.subnet;
      return subnet ? [{ network, subnet }] : [];
    });
    return this.#addresses.allocate(vm, subnets, used);
  }

  user(vm: VirtualMachine): number {
    return this.#users.allocate(vm);
  }

  /** Others are given the next time. @returns whether the API refused a write because another machine, which we do not see, has some of these numbers */
  refused(vm: VirtualMachine, error: unknown): boolean {
    const fields = isApiError(error, "Invalid") ? (error.details.causes ?? []).map(({ field }) => field) : [];
    const isUserTaken = fields.includes("status.user");
    if (isUserTaken) this.#users.refuse(vm, this.user(vm));
    const taken = fields.flatMap((field) => {
      const index = /^status\.interfaces\[(\d+)\]$/.exec(field)?.[1];
      return index === undefined ? [] : [Number(index)];
    });
    if (taken.length > 0)
      this.#addresses.refuse(
        vm,
        this.interfaces(vm).filter((_, index) => taken.includes(index)),
      );
    return isUserTaken || taken.length > 0;
  }
}
