/**
 * The server's last word on reserved failover capacity, when an Instance gets its host: two who decide at the same moment must not take together the room
 * that a loss needs. All losses are proven anew on what is stored now; nothing is done where no policy asks for it. Pure.
 */
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance, StoragePool, VirtualMachine } from "../../compute/kinds.ts";
import type { Cause } from "../../resource/errors.ts";
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { makeEstate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { Policy } from "../kinds.ts";
import { failoverObstacle } from "./failover.ts";

/** What is wrong with the host that an Instance gets. */
export function checkFailover(object: Instance, old: Instance | undefined, lookup: Lookup): Cause[] {
  const { spec, metadata } = object;
  if (!spec.host || old?.spec.host || (!old && metadata.resourceVersion)) return [];
  const valid = <T extends { metadata: Instance["metadata"] }>(list: readonly T[]) =>
    list.filter((each) => !invalidity(each));
  const policies = valid(lookup.list(Policy));
  if (!policies.some((policy) => policy.spec.failover)) return [];
  const hosts = valid(lookup.list(Host));
  // Leaving a host in maintenance goes before room for what may happen; so does what users move by hand.
  if (spec.incoming && !spec.placement?.plan) return [];
  const instances = valid(lookup.list(Instance));
  const leaves = instances.find((run) => run.spec.vmUid === spec.vmUid && run.status?.custody === "Held");
  if (hosts.some((host) => host.spec.maintenance && host.metadata.name === leaves?.spec.host)) return [];
  const estate = makeEstate({
    hosts,
    policies,
    machines: valid(lookup.list(VirtualMachine)),
    pools: valid(lookup.list(StoragePool)),
    // As it was before this write.
    instances: instances.filter((run) => run.metadata.uid !== metadata.uid),
  });
  const key = `${metadata.namespace ?? "default"}/${spec.vm}`;
  const machine = indexOf(estate).get(key);
  const host = indexOf(estate).hosts.get(spec.host);
  const why = machine && host && failoverObstacle(estate, machine, host);
  return why
    ? [{ field: "spec.host", reason: "FieldValueForbidden", message: `Forbidden: host ${spec.host}: ${why}` }]
    : [];
}
