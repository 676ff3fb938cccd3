/**
 * The user that a machine's QEMU runs as: one of its own in the whole estate, so that it is so on every host it may come to; kept for life, because its
 * files are that user's. A number for hosts, not an account of anybody. As with addresses (address-book.ts), what was given a moment ago counts
 * before the informer shows it, and the API has the last word.
 */
import { createHash } from "node:crypto";
import type { Informer } from "../../reconcile/informer.ts";
import type { VirtualMachine } from "../kinds.ts";
import { FIRST_SPACE, FIRST_USER, firstChoice } from "./kinds.ts";

/** A number that nobody has: the first choice, or one behind all first choices. Pure. */
export function freeUser(vmUid: string, taken: ReadonlySet<number>): number {
  let user = firstChoice(vmUid);
  for (let attempt = 0; taken.has(user); attempt++) {
    const hash = createHash("sha256").update(`${vmUid}/${attempt}`).digest().readUInt32BE();
    user = FIRST_USER + FIRST_SPACE + (hash % 2 ** 30);
  }
  return user;
}

/** What a machine has, or will have unless another has it. */
const userOfMachine = ({ metadata, status }: VirtualMachine): number =>
  status?.user ?? firstChoice(metadata.uid ?? "");

export class UserBook {
  readonly #vms: Informer<VirtualMachine>;
  readonly #given = new Map<string, number>();
  /** Of machines that no informer shows. */
  readonly #refused = new Set<number>();

  constructor(vms: Informer<VirtualMachine>) {
    this.#vms = vms;
    vms.onChange((_key, vm, old) => {
      const uid = (vm ?? old)?.metadata.uid;
      if (uid && (!vm || vm.status?.user !== undefined)) this.#given.delete(uid);
    });
  }

  /** The API knows whose it is, though we do not. */
  refuse(vm: VirtualMachine, user: number): void {
    this.#given.delete(vm.metadata.uid ?? "");
    this.#refused.add(user);
  }

  allocate(vm: VirtualMachine): number {
    const uid = vm.metadata.uid ?? "";
    const kept = vm.status?.user ?? this.#given.get(uid);
    if (kept !== undefined && !this.#refused.has(kept)) return kept;
    const taken = new Set(this.#refused);
    // One that was started before there was a choice has its first one; one that never was takes another.
    for (const other of this.#vms.list())
      if (
        other.metadata.uid !== uid &&
        (other.status?.user !== undefined || (other.status?.sequence ?? 0) > 0)
      )
        taken.add(userOfMachine(other));
    for (const [other, user] of this.#given) if (other !== uid) taken.add(user);
    const user = freeUser(uid, taken);
    this.#given.set(uid, user);
    return user;
  }
}
