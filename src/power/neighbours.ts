/**
 * Who wakes a host that has no BMC: the agents of hosts that are in a network with it, since Wake-on-LAN's packet reaches no further. Who that is, its facts tell, which it gave when it ran.
 */
import { type Client, modify } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import type { Logger } from "../reconcile/log.ts";
import { getCondition } from "../resource/object.ts";
import { broadcastOf } from "../resource/subnet.ts";

/** So many are asked: one may be lost meanwhile. */
const ASKED = 3;
/** So many are kept of those that a host was asked to wake. */
const KEPT = 32;

interface Neighbour {
  name: string;
  /** In which both are. */
  networks: string[];
}

/** Those that can be asked, others first for another host. Pure. */
function neighboursOf(host: Host, hosts: readonly Host[]): Neighbour[] {
  const { wakeOnLan } = host.spec.bmc ?? {};
  if (!wakeOnLan) return [];
  const own = new Set(host.status?.facts?.networks ?? []);
  const found = hosts
    .filter(
      ({ metadata, spec, status }) =>
        metadata.name !== host.metadata.name &&
        // The same private network may be in use at two sites.
        (spec.site ?? "") === (host.spec.site ?? "") &&
        getCondition(status?.conditions, "Ready")?.status === "True",
    )
    .map(({ metadata, status }) => ({
      name: metadata.name,
      networks: (status?.facts?.networks ?? []).filter(
        (network) => own.has(network) || broadcastOf(network) === wakeOnLan.address,
      ),
    }))
    .filter(({ networks }) => networks.length > 0)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const from = found.findIndex(({ name }) => name > host.metadata.name);
  return [...found.slice(Math.max(0, from)), ...found.slice(0, Math.max(0, from))].slice(0, ASKED);
}

/** Asks them to; one that cannot be asked is no reason not to ask the others. @param time of this call: each is asked once for it @returns those that were */
export async function askNeighbours(
  client: Client,
  host: Host,
  hosts: readonly Host[],
  time: string,
  log: Logger,
): Promise<Neighbour[]> {
  const { wakeOnLan } = host.spec.bmc ?? {};
  if (!wakeOnLan) return [];
  const { mac, port } = wakeOnLan;
  const asked: Neighbour[] = [];
  for (const neighbour of neighboursOf(host, hosts)) {
    const { name, networks } = neighbour;
    const wake = { host: host.metadata.name, mac, port, networks, time };
    const written = await modify(client, Host, { name }, "status", (now) => {
      const others = (now.status?.wakes ?? []).filter((each) => each.host !== wake.host);
      return { ...now, status: { ...now.status, wakes: [...others, wake].slice(-KEPT) } };
    }).catch((error: unknown) => log.warn("power.failed", { host: name, error }));
    if (written) asked.push(neighbour);
  }
  return asked;
}
