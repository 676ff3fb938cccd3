/**
 * Kernel samepage merging (KSM) as spec.ksm of this Host says. The kernel merges what is alike of all that may be merged on the whole host, and whoever
 * measures how long a write takes can tell what was merged, so what others have in memory. So on one host only the machines of one project may be merged: that
 * which spec.ksm names (qemu-hypervisor.ts sees to it). Off when it names none.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Client, modify } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Controller } from "../reconcile/controller.ts";
import type { Informer } from "../reconcile/informer.ts";
import { describeError, type Logger } from "../reconcile/log.ts";
import { isMissing } from "../system/exists.ts";
import { readGauge } from "../telemetry/metrics.ts";

const FOLDER = "/sys/kernel/mm/ksm";
/** Of its `run`: stop and undo all; merge. */
const [UNMERGE, MERGE] = ["2", "1"];
const PAGE = 4096;

const saved = readGauge("vireo_host_ksm_saved_bytes", "Memory of the host that merging (KSM) saves.", []);

type Status = NonNullable<NonNullable<Host["status"]>["ksm"]>;

/**
 * Does what is asked for. No-op when it is so.
 * @param was what we have told before: what others have switched on is left alone
 */
export function setKsm(
  namespace: string | undefined,
  was: Status | undefined,
  folder = FOLDER,
): Status | undefined {
  const run = join(folder, "run");
  try {
    if (namespace === undefined) {
      if (was?.state !== "On") return was && { state: "Off" }; // nothing was done by us
      writeFileSync(run, UNMERGE);
      return { state: "Off" };
    }
    // What was merged for another project is undone first.
    if (was?.state === "On" && was.namespace !== namespace) writeFileSync(run, UNMERGE);
    if (readFileSync(run, "utf8").trim() !== MERGE) writeFileSync(run, MERGE);
    return { state: "On", namespace };
  } catch (error) {
    const why = isMissing(error)
      ? "its kernel has no KSM"
      : `its kernel refuses it (${describeError(error)}); the agent has to be root`;
    return { state: "Failed", message: `${run}: ${why}` };
  }
}

function savedBytes(): number {
  try {
    return Number(readFileSync(join(FOLDER, "pages_sharing"), "utf8")) * PAGE;
  } catch {
    return 0;
  }
}

/** Does as this Host says until the signal aborts. `sharesKernel`: a development host, whose kernel is others', too. */
export async function runKsm(context: {
  client: Client;
  host: string;
  hosts: Pick<Informer<Host>, "onChange" | "list">;
  sharesKernel: boolean;
  log: Logger;
  signal: AbortSignal;
}): Promise<void> {
  const { client, host, hosts, sharesKernel, log, signal } = context;
  const untell = saved(() => [[{}, savedBytes()]]);
  const controller = new Controller({
    name: "ksm",
    log,
    workers: 1,
    reconcile: async (name) => {
      const object = await client.get(Host, { name });
      if (!object) return;
      const was = object.status?.ksm;
      const wanted = object.spec.ksm?.namespace;
      const is: Status | undefined =
        sharesKernel && wanted !== undefined
          ? { state: "Failed", message: "a development host shares its kernel with others" }
          : setKsm(wanted, was);
      if (!is || isDeepStrictEqual(is, was)) return;
      log.info("ksm.set", { host, ...is });
      await modify(client, Host, { name }, "status", (now) => ({
        ...now,
        status: { ...now.status, ksm: is },
      }));
    },
  });
  hosts.onChange((name, now, before) => {
    // Of its facts and heartbeats there is nothing to do.
    const isNew = !before || now?.status?.agent?.startedTime !== before.status?.agent?.startedTime;
    if (name === host && (isNew || !isDeepStrictEqual(now?.spec.ksm, before?.spec.ksm)))
      controller.enqueue(name);
  });
  controller.enqueue(host);
  await controller.run(signal);
  untell();
}
