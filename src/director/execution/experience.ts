/** What moves took that were made: by plans, and by users themselves. Pure. */
import type { Migration } from "../../compute/migrations/kinds.ts";
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { type Effect, endOf, type Plan } from "../kinds.ts";
import { policiesOf } from "../rules/rules.ts";
import { type Experience, round } from "./forecast.ts";
import { memoryToSend, transferBy, wayOf } from "./way.ts";

/** Of those that users asked for, which nobody removes, the newest. */
const ASKED = 200;

type Timed = [at: number, took: Experience];

/** What a Migration that is over took. */
export function tookOf({ status }: Migration): Effect {
  const { startedTime, finishedTime, memory, disks, downtimeMs } = status ?? {};
  const ms = Date.parse(finishedTime ?? "") - Date.parse(startedTime ?? "");
  const sent = [memory, disks].flatMap((each) => each?.transferredBytes ?? []);
  return {
    ...(Number.isFinite(ms) ? { seconds: round(ms / 1000, 3) } : {}),
    ...(sent.length === 0 ? {} : { bytes: sent.reduce((sum, bytes) => sum + bytes, 0) }),
    ...(disks?.transferredBytes ? { diskBytes: disks.transferredBytes } : {}),
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
  };
}

/** The oldest first. @param plans all that are kept @param estate whose machines users had moved, too */
export function experienceOf(plans: readonly Plan[], estate?: Estate): Experience[] {
  const all = [...plans.flatMap(ofPlan), ...(estate ? asked(estate) : [])];
  // Of plans that are not over: the newest, all alike.
  return all.sort(([a], [b]) => (a === b ? 0 : a - b)).map(([, took]) => took);
}

function ofPlan(plan: Plan): Timed[] {
  const { spec, status } = plan;
  const at = endOf(plan);
  return spec.moves.flatMap(({ namespace, vm }, i) => {
    const { phase, actual, memoryBytes, toSendBytes = memoryBytes, linkMbps } = status?.moves?.[i] ?? {};
    if (phase !== "Succeeded" || !toSendBytes || !linkMbps) return [];
    return timed(`${namespace}/${vm}`, at, { toSendBytes, linkMbps }, actual);
  });
}

/** By the machine as it is now. */
function asked(estate: Estate): Timed[] {
  const index = indexOf(estate);
  return (estate.asked ?? []).slice(-ASKED).flatMap((migration) => {
    const { metadata, spec, status } = migration;
    const machine = index.get(`${metadata.namespace ?? "default"}/${spec.vm}`);
    if (!machine) return [];
    const [from, to] = [status?.from, spec.to].map((name) => index.hosts.get(name ?? ""));
    const way = wayOf(machine, transferBy(policiesOf(estate, machine), spec.transfer), from, to);
    const over = { toSendBytes: memoryToSend(machine, way), linkMbps: way.mbps };
    return timed(machine.key, Date.parse(status?.finishedTime ?? "") || 0, over, tookOf(migration));
  });
}

function timed(
  key: string,
  at: number,
  over: Pick<Experience, "toSendBytes" | "linkMbps">,
  { bytes, diskBytes = 0, seconds, downtimeMs }: Effect = {},
): Timed[] {
  if (!bytes || !seconds) return [];
  const still = downtimeMs === undefined ? {} : { downtimeMs };
  return [[at, { key, ...over, bytes, diskBytes, seconds, ...still }]];
}
