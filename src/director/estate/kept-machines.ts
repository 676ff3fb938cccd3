/**
 * Machines and their runs as they are stored, for the server's last words (last-word.ts, failover-word.ts): kept from one write to the next, so that a look costs
 * what has changed since, and found by machine and by label.
 */
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { isToRun } from "../../compute/lifecycle/kinds.ts";
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import type { Resource } from "../../resource/object.ts";
import { type LabelSelector, selects } from "../../resource/selector.ts";

/** Of each API server. */
const kept = new WeakMap<Lookup, KeptMachines>();

/** As they are stored now. */
export function keptMachines(lookup: Lookup): KeptMachines {
  const [machines, instances] = [lookup.list(VirtualMachine), lookup.list(Instance)];
  const known = kept.get(lookup) ?? new KeptMachines();
  known.update(machines, instances);
  kept.set(lookup, known);
  return known;
}

/** Of their changes nothing has to be known any more. */
export const ignoreChanged = (lookup: Lookup): void => kept.get(lookup)?.ignoreChanged();

export class KeptMachines {
  /** By uid of the VirtualMachine. Of what is odd, the shape may be any. */
  readonly vms = new Map<string, VirtualMachine>();
  readonly runs = new Map<string, readonly Instance[]>();
  /** Uids; gathered only while somebody asks for them. */
  private changed: Set<string> | undefined;
  /** By "label=value", and by host, uids of machines, and by uid what it is filed under. */
  private readonly labelled = new Map<string, Set<string>>();
  private readonly filed = new Map<string, readonly string[]>();
  private lists: { machines: readonly VirtualMachine[]; instances: readonly Instance[] } = {
    machines: [],
    instances: [],
  };

  /** @param machines in the order of their keys, like the instances; what did not change is the same object */
  update(machines: readonly VirtualMachine[], instances: readonly Instance[]): void {
    const vms = differences(this.lists.machines, machines);
    const runs = differences(this.lists.instances, instances);
    this.lists = { machines, instances };
    const touched = new Set<string>();
    const uidOf = ({ metadata: { uid = "" } }: VirtualMachine) => uid;
    const ownerOf = ({ spec }: Partial<Instance>) => spec?.vmUid ?? "";
    for (const vm of vms.gone) this.vms.delete(uidOf(vm));
    for (const vm of vms.come) this.vms.set(uidOf(vm), vm);
    for (const vm of [...vms.gone, ...vms.come]) touched.add(uidOf(vm));
    for (const run of runs.gone) {
      const left = (this.runs.get(ownerOf(run)) ?? []).filter((one) => one !== run);
      if (left.length > 0) this.runs.set(ownerOf(run), left);
      else this.runs.delete(ownerOf(run));
      touched.add(ownerOf(run));
    }
    for (const run of runs.come) {
      this.runs.set(ownerOf(run), [...(this.runs.get(ownerOf(run)) ?? []), run].sort(byKey));
      touched.add(ownerOf(run));
    }
    for (const uid of touched) {
      this.file(uid);
      this.changed?.add(uid);
    }
  }

  /** Uids of the machines that changed since this was last called; none the first time. */
  takeChanged(): ReadonlySet<string> {
    const taken = this.changed ?? new Set();
    this.changed = new Set();
    return taken;
  }

  /** Nobody asks any more what has changed. */
  ignoreChanged(): void {
    this.changed = undefined;
  }

  private file(uid: string): void {
    for (const key of this.filed.get(uid) ?? []) this.labelled.get(key)?.delete(uid);
    const runs = this.runs.get(uid) ?? [];
    const own = this.vms.get(uid)?.metadata.labels ?? {};
    const all = [own, ...runs.map((run) => this.labelsOf(run))].flatMap((labels) =>
      Object.entries(labels).map(inWords),
    );
    all.push(...runs.flatMap((run) => (run.spec?.host ? [onHost(run.spec.host)] : [])));
    this.filed.set(uid, all);
    for (const key of all) {
      const known = this.labelled.get(key);
      if (known) known.add(uid);
      else this.labelled.set(key, new Set([uid]));
    }
    if (all.length === 0) this.filed.delete(uid);
  }

  /** Of its machine; where that is gone, its own. */
  labelsOf(run: Pick<Instance, "metadata"> & Partial<Pick<Instance, "spec">>): Record<string, string> {
    return (this.vms.get(run.spec?.vmUid ?? "")?.metadata ?? run.metadata).labels ?? {};
  }

  /** What is odd is not known to be. */
  isToRun(vm: VirtualMachine): boolean {
    const runs = this.runs.get(vm.metadata.uid ?? "") ?? [];
    return (
      !invalidity(vm) &&
      isToRun(
        vm,
        runs.some(({ status }) => status?.custody !== "Released"),
      )
    );
  }

  runsOn(host: string): Instance[] {
    return [...(this.labelled.get(onHost(host)) ?? [])].flatMap((uid) =>
      (this.runs.get(uid) ?? []).filter((run) => run.spec?.host === host),
    );
  }

  /** Uids of all that the selector may choose. */
  private candidates({ matchLabels = {} }: LabelSelector): Iterable<string> {
    const [first] = Object.entries(matchLabels);
    return first
      ? (this.labelled.get(inWords(first)) ?? [])
      : new Set([...this.vms.keys(), ...this.runs.keys()]);
  }

  /** The machines of a namespace that the selector chooses, and the runs that it does. */
  chosenBy(
    selector: LabelSelector,
    namespace: string | undefined,
  ): { vms: VirtualMachine[]; runs: Instance[] } {
    const found: { vms: VirtualMachine[]; runs: Instance[] } = { vms: [], runs: [] };
    const isHere = ({ metadata }: Resource) => metadata.namespace === namespace;
    for (const uid of this.candidates(selector)) {
      const vm = this.vms.get(uid);
      if (vm && isHere(vm) && selects(selector, vm.metadata.labels ?? {})) found.vms.push(vm);
      for (const run of this.runs.get(uid) ?? [])
        if (isHere(run) && selects(selector, this.labelsOf(run))) found.runs.push(run);
    }
    return found;
  }
}

/** No label is called so. */
const onHost = (host: string) => ` ${host}`;
const inWords = ([label, value]: readonly [string, string]) => `${label}=${value}`;

const keyOf = ({ metadata: { namespace = "", name } }: Resource) => `${namespace}/${name}`;
const byKey = (a: Resource, b: Resource) => (keyOf(a) < keyOf(b) ? -1 : keyOf(a) > keyOf(b) ? 1 : 0);

/** What is in only one of two lists, both in the order of their keys. */
function differences<T extends Resource>(before: readonly T[], now: readonly T[]): { gone: T[]; come: T[] } {
  const [gone, come]: [T[], T[]] = [[], []];
  if (before === now) return { gone, come };
  for (let i = 0, j = 0; i < before.length || j < now.length; ) {
    const [a, b] = [before[i], now[j]];
    if (a !== undefined && a === b) {
      i++;
      j++;
      continue;
    }
    const order = a === undefined ? 1 : b === undefined ? -1 : byKey(a, b);
    if (a !== undefined && order <= 0) {
      gone.push(a);
      i++;
    }
    if (b !== undefined && order >= 0) {
      come.push(b);
      j++;
    }
  }
  return { gone, come };
}
