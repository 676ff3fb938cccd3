/**
 * The kind UsageHistory: what machines were seen to use (history.ts), kept for who leads next. All machines together are in so many objects, by a hash of their names, and each is written
 * once an hour (history-keeper.ts): some 340 bytes a machine and hour, and as many writes whether there are ten thousand machines or a hundred thousand.
 */
import { type Static, Type } from "typebox";
import { defineKind, type ObjectOf } from "../../resource/kind.ts";
import { type Remembered, WEEK_HOURS } from "./history.ts";

/** One byte an hour: 0, not seen; else a power of two in fifteenths from 1/128 on, so that it is off by 2.4 % at most, and says up to 978 processors. */
const STEPS = 15;
const LEAST = -7;
/** What an hour can say at most. */
const MOST_CPUS = 2 ** (254 / STEPS + LEAST);

const Machine = Type.Object({
  machine: Type.String({ description: "namespace/name" }),
  since: Type.String({ description: "When it was seen first." }),
  cpus: Type.Number({ description: "Processors of its host that it used at spec.time." }),
  mean: Type.Number({ description: "Of the while before, in which newer values count more." }),
  deviation: Type.Number({ description: "The standard deviation from that." }),
  hours: Type.Optional(
    Type.String({
      description:
        "Processors by hour of the week, from Thursday, 1 January 1970, 0:00 UTC on: base64 of a byte each, 0: not seen yet, b: 2^((b - 1) / 15 - 7).",
    }),
  ),
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
  machines: machines.map(({ machine, since, cpus, mean, deviation, hours }) => ({
    machine,
    since: new Date(since).toISOString(),
    cpus: rounded(cpus),
    mean: rounded(mean),
    deviation: rounded(deviation),
    ...(hours ? { hours: packed(hours) } : {}),
  })),
});

/** What makes no sense is left out: it is only learned anew. */
export function remembered({ spec: { time, machines } }: Pick<UsageHistory, "spec">): Remembered[] {
  const at = Date.parse(time);
  return machines.flatMap(({ since: first, hours: text, ...rest }: Static<typeof Machine>) => {
    const since = Date.parse(first);
    const hours = text === undefined ? undefined : unpacked(text);
    if (![since, at].every(Number.isFinite) || since > at) return [];
    const { cpus, mean, deviation } = rest;
    if (![cpus, mean, deviation].every((each) => each >= 0 && each <= MOST_CPUS)) return [];
    return { ...rest, since, at, ...(hours ? { hours } : {}) };
  });
}

function packed(hours: Float32Array): string {
  const bytes = Uint8Array.from(hours, (cpus) =>
    Number.isNaN(cpus)
      ? 0
      : Math.min(255, Math.max(1, 1 + Math.round(STEPS * (Math.log2(Math.max(cpus, 2 ** LEAST)) - LEAST)))),
  );
  return Buffer.from(bytes.buffer).toString("base64");
}

function unpacked(text: string): Float32Array | undefined {
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== WEEK_HOURS) return undefined;
  return Float32Array.from(bytes, (b) => (b === 0 ? Number.NaN : 2 ** ((b - 1) / STEPS + LEAST)));
}
