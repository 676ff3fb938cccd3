/**
 * The kind UsageHistory: what machines were seen to use (history.ts), kept for who leads next. All machines together are in so many objects, by a hash of their names, and each is written
 * once an hour (history-keeper.ts): some 1.5 KB a machine and hour, and as many writes whether there are ten thousand machines or a hundred thousand.
 */
import { type Static, Type } from "typebox";
import { defineKind, type ObjectOf } from "../../resource/kind.ts";
import { type Lately, type Remembered, SERIES, type Series, UNITS, WEEK_HOURS } from "./history.ts";
import { MOST_UNITS, NOT_SEEN } from "./week-codes.ts";

const HOURS =
  "from Thursday, 1 January 1970, 0:00 UTC on, those of summer time in timeZone an hour later: base64 of a byte each, 0: not seen yet, 1: less than 1/128, b: 2^((b - 1) / 15 - 7)";

const of = (what: string, unit: string) =>
  Type.Optional(
    Type.Object(
      {
        now: Type.Number({ description: "At spec.time." }),
        mean: Type.Number({ description: "Of the while before." }),
        hours: Type.Optional(Type.String({ description: `By hour of the week in ${unit}, as hours.` })),
      },
      { description: what },
    ),
  );

const Machine = Type.Object({
  machine: Type.String({ description: "namespace/name" }),
  since: Type.String({ description: "When it was seen first." }),
  timeZone: Type.Optional(
    Type.String({ description: "Of its site: with its summer time the hours go. With none when absent." }),
  ),
  cpus: Type.Number({ description: "Processors of its host that it used at spec.time." }),
  mean: Type.Number({ description: "Of the while before, in which newer values count more." }),
  deviation: Type.Number({ description: "The standard deviation from that." }),
  hours: Type.Optional(Type.String({ description: `Processors by hour of the week, ${HOURS}.` })),
  iops: of("Requests a second of its disks.", "1024"),
  diskBytes: of("Bytes a second that it read and wrote.", "64 MiB"),
  networkBytes: of("Bytes a second that it received or sent, whichever was more.", "64 MiB"),
  memoryBytes: of("Memory of its host that it took.", "4 GiB"),
});

export const UsageHistory = defineKind({
  kind: "UsageHistory",
  plural: "usagehistories",
  namespaced: false,
  madeByVireo: true,
  hidden: true,
  description:
    "UsageHistory is what some of the machines were seen to use, by the hour of the week: what the director expects of them. It is kept so that the control plane that leads next need not learn it anew.",
  // Owner: the director.
  spec: Type.Object({
    time: Type.String({ description: "Until then." }),
    machines: Type.Array(Machine),
  }),
  columns: [{ name: "Until", type: "date", jsonPath: ".spec.time" }],
});
export type UsageHistory = ObjectOf<typeof UsageHistory>;

const rounded = (value: number) => Number(value.toPrecision(4));

/** @param machines all of one object @param at until then, ms since the epoch */
export const historySpec = (machines: readonly Remembered[], at: number): UsageHistory["spec"] => ({
  time: new Date(at).toISOString(),
  machines: machines.map(({ machine, since, timeZone, deviation, of: { cpus, ...more } }) => ({
    machine,
    since: new Date(since).toISOString(),
    ...(timeZone === undefined ? {} : { timeZone }),
    cpus: rounded(cpus.now),
    mean: rounded(cpus.mean),
    deviation: rounded(deviation),
    ...packed(cpus.hours),
    ...Object.fromEntries(
      Object.entries(more).map(([name, { now, mean, hours }]) => [
        name,
        { now: rounded(now), mean: rounded(mean), ...packed(hours) },
      ]),
    ),
  })),
});

/** What makes no sense is left out: it is only learned anew. */
export function remembered({ spec: { time, machines } }: Pick<UsageHistory, "spec">): Remembered[] {
  const at = Date.parse(time);
  return machines.flatMap(
    ({ machine, since: first, timeZone, deviation, ...told }: Static<typeof Machine>) => {
      const since = Date.parse(first);
      if (![since, at].every(Number.isFinite) || since > at) return [];
      const cpus = sensible("cpus", { now: told.cpus, mean: told.mean, hours: told.hours });
      if (!cpus || !(deviation >= 0 && deviation <= MOST_UNITS)) return [];
      const of: Remembered["of"] = { cpus };
      for (const name of SERIES) {
        const more = name === "cpus" ? undefined : sensible(name, told[name]);
        if (more) of[name] = more;
      }
      return [{ machine, since, at, timeZone, deviation, of }];
    },
  );
}

function sensible(
  name: Series,
  told: { now: number; mean: number; hours?: string | undefined } | undefined,
): Lately | undefined {
  if (!told) return undefined;
  const { now, mean } = told;
  if (![now, mean].every((each) => each >= 0 && each <= MOST_UNITS * UNITS[name])) return undefined;
  return { now, mean, ...unpacked(told.hours) };
}

const packed = (hours: Uint8Array | undefined): { hours?: string } =>
  hours?.some((code) => code !== NOT_SEEN) ? { hours: Buffer.from(hours).toString("base64") } : {};

function unpacked(text: string | undefined): { hours?: Uint8Array } {
  const bytes = text === undefined ? undefined : Buffer.from(text, "base64");
  return bytes?.length === WEEK_HOURS ? { hours: Uint8Array.from(bytes) } : {};
}
