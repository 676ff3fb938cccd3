/**
 * Wakes hosts that are off and on one of this host's networks, because the control plane asks for it (status.wakes of this Host): Wake-on-LAN's packet reaches no further than its own
 * network. What was asked before this agent started, or while it heard nothing, is done only if it is still asked for: that host may have been used and switched off since.
 */
import type { Client } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import type { EventRecorder } from "../reconcile/events.ts";
import type { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { broadcastOf } from "../resource/subnet.ts";
import { sendMagicPacket } from "../system/wake-on-lan.ts";

type Wake = NonNullable<NonNullable<Host["status"]>["wakes"]>[number];

/** Wakes as soon as `own`, which has this host alone, runs. */
export function wakeNeighbours(context: {
  client: Client;
  host: string;
  own: Informer<Host>;
  events: EventRecorder;
  log: Logger;
  send?: typeof sendMagicPacket;
}): void {
  const { client, host, own, events, log, send = sendMagicPacket } = context;
  const idOf = ({ host: whom, time }: Wake) => `${whom} ${time}`;
  let known: ReadonlySet<string> | undefined;
  own.onChange((_name, now) => {
    const wakes = now?.status?.wakes ?? [];
    const before = known;
    known = new Set(wakes.map(idOf));
    if (before) for (const wake of wakes) if (!before.has(idOf(wake))) void wakeUp(wake);
  });

  /** By what is being done with its power now. */
  async function isStillAsked(whom: string): Promise<boolean> {
    const { task } = (await client.get(Host, { name: whom }))?.status?.power ?? {};
    return task?.kind === "On" || task?.waking !== undefined;
  }

  async function wakeUp({ host: whom, mac, port, networks, time }: Wake): Promise<void> {
    const about = { kind: Host.kind, name: whom };
    try {
      if (!(await isStillAsked(whom))) return log.info("waking.late", { host: whom, time });
    } catch (error) {
      // Others are asked, too: better not woken by this one than woken while it is to be off.
      return log.warn("waking.failed", { host: whom, error });
    }
    for (const network of networks) {
      const address = broadcastOf(network);
      try {
        await send({ mac, address, port });
        log.info("waking.sent", { host: whom, mac, address });
        events.record(about, "Normal", "WakePacketSent", `to ${mac} at ${address}:${port}, by host ${host}`);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        events.record(
          about,
          "Warning",
          "WakePacketFailed",
          `the packet to ${mac} could not be sent to ${address}:${port} by host ${host}: ${why}`,
        );
      }
    }
  }
}
