/** The waiting part of `vireo up`: prints what changes while images are built and machines start, until all are there. */
import type { Client } from "../client/client.ts";
import type { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { Image } from "../images/kinds.ts";
import { describeImage } from "../images/trust/standing.ts";
import { imageOf } from "../images/versions/kinds.ts";
import { getCondition } from "../resource/object.ts";

/** One line about a machine's state, for people. */
export function describeMachine(vm: VirtualMachine): string {
  const status = vm.status ?? {};
  const where = status.host ? ` on ${status.host}` : "";
  const ready = getCondition(status.conditions, "Ready");
  const detail = status.phase !== "Running" && ready?.message ? `: ${ready.message}` : "";
  return `${status.phase ?? "Pending"}${where}${detail}`;
}

/** Heard from; and, when its agent was started at `since` (ms), what it says of its machines is of after that. */
export function isReady({ status }: Host, since = 0): boolean {
  const synced = Date.parse(status?.agent?.syncedTime ?? "") || 0;
  return getCondition(status?.conditions, "Ready")?.status === "True" && synced >= since;
}

/** Whether it does not run because somebody wants that: its user, or its guest, which shut itself down. */
export function restsAsWanted({ spec, status }: VirtualMachine): boolean {
  const phase = status?.phase ?? "Pending";
  return phase === "Suspended" || phase === "Stopped" || (phase === "Paused" && spec.paused === true);
}

/** Whether nothing more comes of it by itself, as far as is known of the spec that it has now. */
function isSettled({ metadata, status }: VirtualMachine): boolean {
  if (status?.observedGeneration !== metadata.generation || status?.nextStartTime !== undefined) return false;
  return ["Suspended", "Paused", "Stopped", "Failed"].includes(status?.phase ?? "Pending");
}

const shouldRun = (vm: VirtualMachine) => vm.spec.running && !vm.metadata.deletionTimestamp;

export interface Outcome {
  running: VirtualMachine[];
  /** What failed, and what does not run: one line each, with the reason. */
  missing: string[];
}

/**
 * Waits until every machine that should run is Running, but for those whose image has failed and those that have come to rest otherwise, or until
 * the time is over; calls `print` with each change.
 */
export async function waitForMachines(
  client: Client,
  print: (line: string) => void,
  timeoutMs: number,
): Promise<Outcome> {
  const said = new Map<string, string>();
  const say = (what: string, text: string) => {
    if (said.get(what) === text) return;
    said.set(what, text);
    print(`${what}  ${text}`);
  };
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const [images, instances, vms] = await Promise.all([
      client.list(Image),
      client.list(Instance),
      client.list(VirtualMachine),
    ]);
    const runs = new Set(
      instances.items
        .filter(({ status }) => status?.phase === "Running")
        .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
    );
    // A machine's own status may be a moment older than its instance's.
    const isRunning = ({ status, metadata: { namespace } }: VirtualMachine) =>
      status?.phase === "Running" && runs.has(`${namespace}/${status.instance}`);
    for (const image of images.items) say(`image/${image.metadata.name}`, describeImage(image));
    for (const vm of vms.items) say(`vm/${vm.metadata.name}`, describeMachine(vm));
    const wanted = vms.items.filter(shouldRun);
    const failed = images.items.filter((image) => image.status?.phase === "Failed");
    const hopeless = new Set(failed.map(({ metadata }) => metadata.name));
    const missing = wanted.filter((vm) => !isRunning(vm) && !(isSettled(vm) && restsAsWanted(vm)));
    // One that has run before has its disk, whatever has become of the image.
    const canCome = missing.filter(
      (vm) => !isSettled(vm) && (vm.status?.lastEnd || !hopeless.has(imageOf(vm.spec.image))),
    );
    const late = Date.now() > deadline;
    if (canCome.length === 0 || late)
      return {
        running: wanted.filter(isRunning),
        missing: [
          ...failed.map((image) => `image/${image.metadata.name}: ${describeImage(image)}`),
          ...missing.map(
            (vm) =>
              `vm/${vm.metadata.name}: ${describeMachine(vm)}${late ? ` (after ${Math.round(timeoutMs / 1000)} s)` : ""}`,
          ),
        ],
      };
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

/** The HTTP answer really got from a machine: status, what it says in its first line, and how long it took. */
export async function httpAnswer(url: string): Promise<string> {
  const start = performance.now();
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
    const body = (await response.text())
      .replace(/<[^>]*>/g, " ")
      // What a guest says must not steer the terminal.
      .replace(/[\s\p{C}]+/gu, " ")
      .trim();
    return `${response.status} "${body.slice(0, 40)}" in ${Math.round(performance.now() - start)} ms`;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return `no answer: ${cause instanceof Error ? cause.message : cause}`;
  }
}
