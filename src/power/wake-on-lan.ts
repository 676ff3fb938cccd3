/**
 * Hosts without a BMC, as the last choice: woken by Wake-on-LAN's magic packet, which the control plane and hosts beside it (neighbours.ts) send, switched off by their own agent (agent/parting.ts), which sees the task. Nobody can be asked whether
 * such a host is on. It is while its agent is heard from; it is taken for off once its agent has said that it goes off and is silent since; all other silence is
 * Unknown.
 */
import type { Host } from "../compute/hosts/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { sendMagicPacket } from "../system/wake-on-lan.ts";
import { type Bmc, BmcError } from "./bmc.ts";
import type { WakeOnLan } from "./kinds.ts";
import type { Seen } from "./next.ts";

/** @throws BmcError */
async function send({ mac, address, port }: WakeOnLan): Promise<void> {
  try {
    await sendMagicPacket({ mac, address, port });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BmcError(
      `the packet that wakes ${mac} could not be sent to ${address}:${port} (${why}), and no host that is on is in a network with it (status.facts.networks); spec.bmc.wakeOnLan.address has to be the broadcast address of a network of the control plane's machine, or of another host's`,
      { cause },
    );
  }
}

export function openWakeOnLan(spec: WakeOnLan): Bmc {
  return {
    state: () => Promise.reject(new BmcError("Wake-on-LAN cannot tell whether a host is on")),
    on: () => send(spec),
    // Its agent sees the task, and does it.
    shutDown: () => Promise.resolve(),
    cut: () => Promise.reject(new BmcError("Wake-on-LAN cannot cut the power of a host")),
  };
}

/** What is known of a host that nobody can be asked about. */
export function heardOf({ status }: Host): Seen {
  const ready = getCondition(status?.conditions, "Ready")?.status;
  if (ready === "True") return { state: "On" };
  // Not of one that has come back since.
  if (status?.parting && status.parting.agent === status.agent?.startedTime) return { state: "Off" };
  return {
    state: "Unknown",
    reason: "its agent is not heard from, and has not said that it goes off; Wake-on-LAN cannot tell more",
  };
}
