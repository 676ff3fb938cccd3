/**
 * The end of runs whose host was taken out (docs/more-hosts.md): its agent, which lets them go, is no more. A Host is only deleted when each of its runs is
 * Released (keepHost), so none of them writes any more. What lay on the host's own disks went with it; what lies in a shared pool is destroyed by
 * another host's agent, to which the run is bound for just that.
 */
import { type Client, modify } from "../client/client.ts";
import { getCondition } from "../resource/object.ts";
import { at, letInstanceGo } from "./actions.ts";
import { isBound, isReleased } from "./custody.ts";
import { Host } from "./hosts/kinds.ts";
import { hadCustody, Instance } from "./kinds.ts";
import { StoragePool } from "./storage/kinds.ts";

/**
 * @param instances those of one machine; which of them are of a host that is not registered is asked of `isKnown` first, which may be late
 * @returns whether one of them waits for a host that could destroy its disks
 */
export async function letGoOfGoneHosts(
  client: Client,
  instances: readonly Instance[],
  isKnown: (host: string) => boolean,
): Promise<boolean> {
  const over = instances.filter(
    (each) => each.metadata.deletionTimestamp && isReleased(each) && !isKnown(each.spec.host ?? ""),
  );
  if (!over.some(isBound)) return false;
  const { items: hosts, skipped } = await client.list(Host);
  const registered = new Set([...hosts.map(({ metadata }) => metadata), ...skipped].map(({ name }) => name));
  let waits = false;
  for (const instance of over) {
    if (!isBound(instance) || registered.has(instance.spec.host ?? "")) continue;
    if (!(await leavesDisks(client, instance))) await letInstanceGo(client, instance);
    else {
      const host = hosts.find(isHeard);
      if (host) await bindAgain(client, instance, host.metadata.name);
      else waits = true;
    }
  }
  return waits;
}

const isHeard = ({ metadata, status }: Host) =>
  !metadata.deletionTimestamp && getCondition(status?.conditions, "Ready")?.status === "True";

/** Whether other hosts see disks that are to be destroyed. */
async function leavesDisks(client: Client, instance: Instance): Promise<boolean> {
  if (!instance.spec.destroyVolumes || !hadCustody(instance)) return false;
  const pool = await client.get(StoragePool, { name: instance.spec.storagePool });
  return pool?.spec.directory.shared === true;
}

const bindAgain = (client: Client, { metadata, spec: { host: gone } }: Instance, host: string) =>
  modify(client, Instance, at({ metadata }), "object", (now) =>
    now.metadata.uid === metadata.uid && now.spec.host === gone
      ? { ...now, spec: { ...now.spec, host } }
      : undefined,
  );
