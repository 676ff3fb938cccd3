/**
 * The conditions of hosts that machines are to leave: MemoryFailing (failing-memory.ts), and Evacuated of those in maintenance or with such memory: True when no
 * machine is there, else what stays and why.
 */
import { modify } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { type Condition, getCondition, setCondition } from "../../resource/object.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import {
  isLeftForMemory,
  judgeMemory,
  MEMORY_FAILING,
  type MemoryVerdict,
} from "../estate/failing-memory.ts";
import { READ } from "../estate/read-estate.ts";
import { policiesOf } from "../rules/rules.ts";
import { retryAt } from "./draft.ts";
import type { Plan } from "./kinds.ts";
import { automationOf } from "./limits.ts";
import { place } from "./place.ts";
import type { DirectorContext } from "./scheduler.ts";
import { movesUnderWay } from "./under-way.ts";

const EVACUATED = "Evacuated";
/** So many machines are told one by one. */
const EACH = 5;

/** What keeps machines on a host that they are to leave; empty: nothing is there. */
function staying(estate: Estate, host: HostView, open: ReturnType<typeof movesUnderWay>): string[] {
  const there = estate.machines.filter((m) => m.host === host.name || m.movingTo === host.name);
  return there
    .map((machine) => `${machine.namespace}/${machine.name} ${whyStaying(estate, machine, host, open)}`)
    .sort();
}

function whyStaying(
  estate: Estate,
  machine: MachineView,
  from: HostView,
  open: ReturnType<typeof movesUnderWay>,
): string {
  if (machine.movingTo !== undefined) return `is moving from ${machine.host} to ${machine.movingTo}`;
  if (!from.ready) return "is on a host that is not ready: nobody can move it";
  if (!machine.movable) return "does not run, or something else is being done with it; start or stop it";
  const underWay = open.get(machine.key);
  if (underWay)
    return `goes to ${underWay.to} by plan/${underWay.plan}${underWay.now ? `: ${underWay.now}` : ""}`;
  const placement = place(estate, machine, from.name);
  if (placement.host === undefined) return `has no other host that can run it: ${placement.reason}`;
  const { automation, policy } = automationOf(policiesOf(estate, machine));
  if (automation === "ask")
    return `goes to ${placement.host}, say, when the plan for it is approved (vireo plan approve): policy ${policy?.metadata.name} asks`;
  if (automation !== "act")
    return `is to be moved by hand (vireo migrate), to ${placement.host}, say: policy ${policy?.metadata.name} ${automation === "off" ? "moves nothing" : "only advises"}`;
  if (machine.failed)
    return `could not be moved: ${machine.failed.why}; it is tried again after ${new Date(retryAt(machine.failed)).toISOString()}`;
  return `goes to ${placement.host}`;
}

/** Written only when it changes. */
export async function tellMemory({ client, clock }: DirectorContext, events: EventRecorder): Promise<void> {
  for (const host of (await client.list(Host, READ)).items) {
    const { name, uid, generation = 0 } = host.metadata;
    const verdict = judgeMemory(host);
    const old = getCondition(host.status?.conditions, MEMORY_FAILING);
    if (verdict ? saysSo(old, verdict, generation) : !old) continue;
    const time = clock.now().toISOString();
    await modify(client, Host, { name }, "status", (now) => {
      const conditions = now.status?.conditions ?? [];
      return {
        ...now,
        status: {
          ...now.status,
          conditions: verdict
            ? setCondition(
                conditions,
                { type: MEMORY_FAILING, ...verdict, observedGeneration: generation },
                time,
              )
            : conditions.filter(({ type }) => type !== MEMORY_FAILING),
        },
      };
    });
    if (verdict?.status === "True" && old?.status !== "True")
      events.record(
        { kind: Host.kind, name, ...(uid ? { uid } : {}) },
        "Warning",
        "MemoryFailing",
        verdict.message,
      );
  }
}

const saysSo = (old: Condition | undefined, { status, message }: MemoryVerdict, generation: number) =>
  old?.status === status && old.message === message && old.observedGeneration === generation;

/** Written only when it changes; a host that is no longer in maintenance has none. */
export async function tellHosts(
  { client, clock }: DirectorContext,
  estate: Estate,
  plans: readonly Plan[],
): Promise<void> {
  const open = movesUnderWay(plans);
  const hosts = (await client.list(Host, READ)).items;
  for (const host of hosts) {
    const { name, generation = 0 } = host.metadata;
    const old = getCondition(host.status?.conditions, EVACUATED);
    if (!host.spec.maintenance && !isLeftForMemory(host)) {
      if (old)
        await modify(client, Host, { name }, "status", (now) => ({
          ...now,
          status: {
            ...now.status,
            conditions: (now.status?.conditions ?? []).filter(({ type }) => type !== EVACUATED),
          },
        }));
      continue;
    }
    const view = indexOf(estate).hosts.get(name);
    const left = view ? staying(estate, view, open) : [];
    const more = left.length > EACH ? `; and ${left.length - EACH} more` : "";
    const [status, reason, message] =
      left.length === 0
        ? (["True", "Empty", "no machine is on it"] as const)
        : (["False", "MachinesLeft", `${left.slice(0, EACH).join("; ")}${more}`] as const);
    if (old?.status === status && old.message === message && old.observedGeneration === generation) continue;
    await modify(client, Host, { name }, "status", (now) => ({
      ...now,
      status: {
        ...now.status,
        conditions: setCondition(
          now.status?.conditions,
          { type: EVACUATED, status, reason, message, observedGeneration: generation },
          clock.now().toISOString(),
        ),
      },
    }));
  }
}
