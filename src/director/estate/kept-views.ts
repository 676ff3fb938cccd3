/** How the director sees the machines of an estate that it reads again and again: of tens of thousands few are others since the last reading, and only those are looked at. */
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import type { ObjectMeta } from "../../resource/object.ts";
import { positionIn } from "../../resource/sorted.ts";
import type { MachineView } from "./estate.ts";
import { KeptMachines } from "./kept-machines.ts";
import { viewOne, viewOwnerless } from "./machine-views.ts";

/** Machines and runs in the order of their keys; what did not change is the same object. */
export interface Machines {
  machines: readonly VirtualMachine[];
  instances: readonly Instance[];
  /** Instances that cannot be read. */
  unread: readonly ObjectMeta[];
  /** Storage pools that one host alone has. */
  localPools: ReadonlySet<string>;
}

export class KeptViews {
  private readonly kept = new KeptMachines();
  /** By key. */
  private readonly views: MachineView[] = [];
  /** Of each machine, by its uid, the key of its view. */
  private readonly keys = new Map<string, string>();
  /** By uid, of machines that make no sense. */
  private readonly odd = new Map<string, { object: string; message: string }>();
  private around = "";

  constructor() {
    // From now on.
    this.kept.takeChanged();
  }

  /** @returns the views in the order of their keys, the caller's own list; runs whose VirtualMachine is gone, cannot be read or makes no sense have one, too */
  look({ machines, instances, unread, localPools }: Machines): {
    views: MachineView[];
    odd: { object: string; message: string }[];
  } {
    this.kept.update(machines, instances);
    let changed: Iterable<string> = this.kept.takeChanged();
    const around = JSON.stringify([
      [...localPools].sort(),
      unread.flatMap((one) => one.ownerReferences ?? []),
    ]);
    if (around !== this.around)
      changed = new Set([...changed, ...this.keys.keys(), ...this.kept.vms.keys(), ...this.kept.runs.keys()]);
    this.around = around;
    const came: MachineView[] = [];
    for (const uid of changed) {
      const view = this.lookAt(uid, unread, localPools);
      const key = this.keys.get(uid);
      const at = key === undefined ? -1 : positionIn(this.views, key);
      if (view && view.key === key) this.views[at] = view;
      else {
        if (key !== undefined) this.views.splice(at, 1);
        if (view) came.push(view);
      }
      if (view) this.keys.set(uid, view.key);
      else this.keys.delete(uid);
    }
    if (came.length > 0) {
      this.views.push(...came);
      this.views.sort((a, b) => (a.key < b.key ? -1 : 1));
    }
    return { views: [...this.views], odd: [...this.odd.values()] };
  }

  private lookAt(
    uid: string,
    unread: readonly ObjectMeta[],
    localPools: ReadonlySet<string>,
  ): MachineView | undefined {
    const [vm, runs] = [this.kept.vms.get(uid), this.kept.runs.get(uid) ?? []];
    this.odd.delete(uid);
    try {
      return viewOne(vm, runs, localPools, unread);
    } catch (error) {
      const [name] = vm
        ? [`VirtualMachine/${vm.metadata.name}`]
        : runs.map((run) => `Instance/${run.metadata.name}`);
      this.odd.set(uid, {
        object: name ?? uid,
        message: error instanceof Error ? error.message : String(error),
      });
      // What runs takes room all the same.
      return vm && this.ownerless(uid, runs);
    }
  }

  private ownerless(uid: string, runs: readonly Instance[]): MachineView | undefined {
    try {
      return viewOwnerless(uid, runs);
    } catch {
      return undefined;
    }
  }
}
