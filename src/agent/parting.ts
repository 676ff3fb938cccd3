/**
 * Switches this host off, where nobody else can: one that is woken by Wake-on-LAN and whose power is asked to go off (status.power.task). The task is only there while no
 * machine is on the host, and none comes as long as it is; should one run here all the same, the host stays on. What is said before (status.parting) is how the
 * control plane tells this silence from others.
 */
import { type Client, modify } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Controller } from "../reconcile/controller.ts";
import type { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { run } from "../system/run.ts";
import type { Hypervisor } from "./hypervisor.ts";

/** The task that this agent has to do; undefined: none, or another one does it. */
function taskOf({ spec, status }: Host): string | undefined {
  const { task } = status?.power ?? {};
  // Done once: should the host come on by itself meanwhile, that is told instead (TimedOut).
  if (task?.startedTime === status?.parting?.task) return undefined;
  if (!spec.bmc?.wakeOnLan || !task || task.kind === "On") return undefined;
  return task.waking ? undefined : task.startedTime;
}

/** Until the signal aborts. */
export async function runParting(context: {
  client: Client;
  host: string;
  /** This host alone; to be run by whoever made it. */
  own: Informer<Host>;
  hypervisor: Pick<Hypervisor, "list">;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Has the system shut down and switch itself off. */
  powerOff?: () => Promise<unknown>;
}): Promise<void> {
  const { client, host, own, hypervisor, clock, log, signal } = context;
  const powerOff = context.powerOff ?? (() => run("systemctl", ["poweroff"]));
  const controller = new Controller({
    name: "parting",
    log,
    clock,
    workers: 1,
    reconcile: async () => {
      const known = await client.get(Host, { name: host });
      const task = known && taskOf(known);
      if (task === undefined) return;
      const running = (await hypervisor.list()).filter(({ state }) => state !== "ended");
      if (running.length > 0) {
        log.error("parting.refused", {
          host,
          message: "machines run here; the host stays on",
          machines: running.length,
        });
        return;
      }
      let said = false;
      await modify(client, Host, { name: host }, "status", (now) => {
        said = taskOf(now) === task;
        if (!said) return undefined;
        const agent = now.status?.agent?.startedTime ?? "";
        return {
          ...now,
          status: { ...now.status, parting: { time: clock.now().toISOString(), task, agent } },
        };
      });
      if (!said || signal.aborted) return;
      log.info("parting", { host });
      await powerOff();
    },
  });
  own.onChange((name) => controller.enqueue(name));
  await controller.run(signal);
}
