/**
 * The server's last word on reserved failover capacity, when an Instance gets its host: two who decide at the same moment must not take together the room
 * that a loss needs. What is known of losses is kept from one write to the next and carried on by what was stored since; nothing is done where no policy asks for it.
 */
import { Host } from "../../compute/hosts/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { type Cause, forbiddenField } from "../../resource/errors.ts";
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { indexOf } from "../estate/estate-index.ts";
import { ignoreChanged, keptMachines } from "../estate/kept-machines.ts";
import { Policy } from "../kinds.ts";
import { failoverObstacle, survivalOf } from "./failover.ts";
import { KeptEstate } from "./kept-estate.ts";

/** Of each API server. */
const kept = new WeakMap<Lookup, KeptEstate>();

/** So many losses that were not survived are looked at again at one write: they may be by now. */
const RETRIES = 2;

/** What is wrong with the host that an Instance gets. */
export function checkFailover(object: Instance, old: Instance | undefined, lookup: Lookup): Cause[] {
  const { spec, metadata } = object;
  if (!spec.host || old?.spec.host || (!old && metadata.resourceVersion)) return [];
  const valid = <T extends { metadata: Instance["metadata"] }>(list: readonly T[]) =>
    list.filter((each) => !invalidity(each));
  const policies = valid(lookup.list(Policy));
  if (!policies.some((policy) => policy.spec.failover)) {
    kept.delete(lookup);
    ignoreChanged(lookup);
    return [];
  }
  const hosts = valid(lookup.list(Host));
  // Leaving a host in maintenance goes before room for what may happen; so does what users move by hand.
  if (spec.incoming && !spec.placement?.plan) return [];
  const machines = keptMachines(lookup);
  const leaves = machines.runs.get(spec.vmUid)?.find((run) => run.status?.custody === "Held");
  if (hosts.some((host) => host.spec.maintenance && host.metadata.name === leaves?.spec.host)) return [];
  // As it was before this write.
  const stored = { hosts, policies, machines, pools: valid(lookup.list(StoragePool)) };
  const known = kept.get(lookup);
  // One that could not be carried on to the end would tell half of it.
  kept.delete(lookup);
  known?.update(stored);
  const now = known ?? new KeptEstate(stored);
  kept.set(lookup, now);
  const { estate } = now;
  survivalOf(estate)?.retry(RETRIES);
  const machine = indexOf(estate).get(`${metadata.namespace ?? "default"}/${spec.vm}`);
  const host = indexOf(estate).hosts.get(spec.host);
  const why = machine && host && failoverObstacle(estate, machine, host);
  return why ? [forbiddenField("spec.host", `host ${spec.host}: ${why}`)] : [];
}
