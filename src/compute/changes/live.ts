/** Brings what changed in a machine's spec to the run that it has, as plan.ts says what can go there. */
import { isDeepStrictEqual } from "node:util";
import { type Client, modify } from "../../client/client.ts";
import { isApiError } from "../../resource/errors.ts";
import { at } from "../actions.ts";
import type { Interface } from "../ipam.ts";
import { Instance, type VirtualMachine } from "../kinds.ts";
import { placed } from "./places.ts";
import { livePlan, type NoRoom } from "./plan.ts";

/** Of networks that the machine is to leave, but its guest may not have left yet. */
export function stillUsed(vm: VirtualMachine, run: Instance | undefined): Interface[] {
  const all = [...(run?.spec.interfaces ?? []), ...(run?.status?.has?.interfaces ?? [])];
  const kept = new Set(vm.status?.interfaces?.map(({ mac }) => mac));
  return all.filter(({ mac }) => !kept.has(mac));
}

/** What status.interfaces and status.disks are to become while it runs; undefined when they are so. */
export function newPlaces(vm: VirtualMachine, interfaces: readonly Interface[]) {
  const { interfaces: before = [], disks: known = [] } = vm.status ?? {};
  const places = placed(vm, interfaces);
  return isDeepStrictEqual(places, { interfaces: before, disks: known }) ? undefined : places;
}

/** What is left out, until the API takes the rest: what fits goes, whatever of the other does not. @param lacks what was refused, and why, so far */
const LESS: readonly ((lacks: readonly string[]) => NoRoom)[] = [
  () => ({}),
  ([all = ""]) => ({ cpus: all }),
  ([, memory = ""]) => ({ memory }),
  ([, memory = "", cpus = ""]) => ({ cpus, memory }),
];

/** @returns why the API refused it: no room on the host; undefined when the run has been asked for it all */
export async function askRun(
  client: Client,
  vm: VirtualMachine,
  instance: Instance,
): Promise<NoRoom | undefined> {
  if (isDeepStrictEqual(livePlan(vm, instance).spec, instance.spec)) return undefined;
  const ask = (noRoom: NoRoom) =>
    modify(client, Instance, at(instance), "object", (now) => {
      if (now.metadata.uid !== instance.metadata.uid || now.spec.migrateTo) return undefined;
      const { spec } = livePlan(vm, now, noRoom);
      return isDeepStrictEqual(spec, now.spec) ? undefined : { ...now, spec };
    });
  const lacks: string[] = [];
  for (const less of LESS) {
    const noRoom = less(lacks);
    try {
      await ask(noRoom);
      return lacks.length > 0 ? noRoom : undefined;
    } catch (error) {
      const causes = isApiError(error, "Invalid") ? (error.details.causes ?? []) : [];
      const lack = causes.find(({ field }) => field === "spec.memory");
      if (!lack || (noRoom.cpus && noRoom.memory)) throw error;
      lacks.push(lack.message.replace(/^Forbidden: /, ""));
    }
  }
  return undefined;
}
