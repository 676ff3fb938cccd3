/**
 * The director's own judgement, in the browser: the same pure code that places machines and answers `vireo explain`, over the objects that the pages
 * hold anyway. Loaded when first asked for.
 */
import { isSound } from "../../src/client/answers.ts";
import { type Estate, makeEstate } from "../../src/director/estate/estate.ts";
import { tariffsOf } from "../../src/director/estate/tariffs.ts";
import { predict } from "../../src/director/execution/figures.ts";
import { planUndo, undoing } from "../../src/director/execution/undo.ts";
import { type Explanation, explain } from "../../src/director/planning/explain.ts";
import { place } from "../../src/director/planning/place.ts";
import type {
  Host,
  Instance,
  Migration,
  Plan,
  Policy,
  Resource,
  Site,
  StoragePool,
  VirtualMachine,
} from "./data/kinds.ts";

export interface Objects {
  hosts: readonly Host[];
  machines: readonly VirtualMachine[];
  instances: readonly Instance[];
  policies: readonly Policy[];
  migrations: readonly Migration[];
  pools: readonly StoragePool[];
  sites: readonly Site[];
}

/** As `vireo explain` reads it (src/director/estate/read-estate.ts): odd objects are left out, and told. @param now ms since the epoch */
export function estateOf(objects: Objects, now = Date.now()): Estate {
  const sound = <T extends Resource>(list: readonly T[]) => list.filter(isSound);
  const unread = (kind: string, list: readonly Resource[]) =>
    list.filter((object) => !isSound(object)).map(({ metadata }) => ({ kind, metadata }));
  const { hosts, machines, instances, policies, migrations, pools, sites } = objects;
  const estate = makeEstate({
    hosts: sound(hosts),
    machines: sound(machines),
    instances: sound(instances),
    policies: sound(policies),
    migrations: sound(migrations),
    pools: sound(pools),
    unread: [
      ...unread("Host", hosts),
      ...unread("VirtualMachine", machines),
      ...unread("Instance", instances),
      ...unread("Policy", policies),
    ],
  });
  return { ...estate, now, sites: tariffsOf(sound(sites), now) };
}

export const explainMachine = (objects: Objects, key: string): Explanation | undefined =>
  explain(estateOf(objects), key);

/** Where a machine that there is not yet would be put, and what every host says to it. */
export function preview(objects: Objects, vm: VirtualMachine) {
  const key = `${vm.metadata.namespace}/${vm.metadata.name}`;
  const others = objects.machines.filter((other) => other.metadata.uid !== vm.metadata.uid);
  const estate = estateOf({ ...objects, machines: [...others, vm] });
  const machine = estate.machines.find((view) => view.key === key);
  return { placement: machine && place(estate, machine), explanation: explain(estate, key) };
}

/** The Plan that takes back what a plan did, with what its moves are expected to do; none when nothing can go back, and why. */
export function undoOf(objects: Objects, plan: Plan, plans: readonly Plan[]) {
  const estate = estateOf(objects);
  const { moves, kept } = planUndo(estate, plan);
  return {
    undo:
      moves.length > 0 ? undoing(plan, predict(estate, moves, plans), estate.now ?? Date.now()) : undefined,
    kept,
  };
}
