/** What moves took that were made: by plans, and by users themselves. Pure. */
import type { Migration } from "../../compute/migrations/kinds.ts";
import type { Estate } from "../estate/estate.ts";
import { type Experience, round } from "./forecast.ts";
import { type Effect, endOf, type Plan } from "./kinds.ts";

/** Of those that users asked for, of which the newest of each machine stay (compute/asked.ts), the newest. */
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

/** The oldest first. @param plans all that are kept @param estate what users had moved in it counts, too */
export function experienceOf(plans: readonly Plan[], estate?: Estate): Experience[] {
  const all = [...plans.flatMap(ofPlan), ...(estate ? asked(estate) : [])];
  // Of plans that are not over: the newest, all alike.
  return all.sort(([a], [b]) => (a === b ? 0 : a - b)).map(([, took]) => took);
}

function ofPlan(plan: Plan): Timed[] {
  const { spec, status } = plan;
  const at = endOf(plan);
  return spec.moves.flatMap(({ namespace, vm }, i) => {
    const {
      phase,
      actual,
      memoryBytes,
      toSendBytes = memoryBytes,
      linkMbps,
      measured,
    } = status?.moves?.[i] ?? {};
    if (phase !== "Succeeded" || !toSendBytes || !linkMbps) return [];
    const { expectedWatts, watts } = measured ?? {};
    const gain =
      expectedWatts === undefined || watts === undefined
        ? {}
        : { watts: { expected: expectedWatts, measured: watts } };
    return timed(`${namespace}/${vm}`, at, { toSendBytes, linkMbps, ...gain }, actual);
  });
}

function asked({ asked: migrations = [] }: Estate): Timed[] {
  return migrations.slice(-ASKED).flatMap((migration) => {
    const { metadata, spec, status } = migration;
    const { toSendBytes, linkMbps, finishedTime } = status ?? {};
    // Older versions did not write them.
    if (!toSendBytes || !linkMbps) return [];
    const key = `${metadata.namespace ?? "default"}/${spec.vm}`;
    return timed(key, Date.parse(finishedTime ?? "") || 0, { toSendBytes, linkMbps }, tookOf(migration));
  });
}

function timed(
  key: string,
  at: number,
  over: Pick<Experience, "toSendBytes" | "linkMbps" | "watts">,
  { bytes, diskBytes = 0, seconds, downtimeMs }: Effect = {},
): Timed[] {
  if (!bytes || !seconds) return [];
  const still = downtimeMs === undefined ? {} : { downtimeMs };
  return [[at, { key, ...over, bytes, diskBytes, seconds, ...still }]];
}
