/** What moves do, predicted or measured, in words. Pure, and without the kind's schema: the web UI says it, too. */

import { round } from "./forecast.ts";
import type { BothHosts, Effect, Measured } from "./kinds.ts";

const FIELDS = ["seconds", "bytes", "downtimeMs", "score", "watts"] as const;

const WORDS: { [F in (typeof FIELDS)[number]]: (value: number) => string } = {
  seconds: (value) => `${value} s`,
  bytes: (value) => `${size(value)} sent`,
  downtimeMs: (value) => `${value} ms still`,
  score: (value) => `score ${value > 0 ? "+" : ""}${value}`,
  watts: (value) => (value === 0 ? "0 W more" : `${Math.abs(value)} W ${value > 0 ? "more" : "less"}`),
};

/** "1.1Gi": for people, unlike quantities that must be exact. */
function size(bytes: number): string {
  const units = ["", "Ki", "Mi", "Gi", "Ti"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return power === 0 ? `${bytes} bytes` : `${round(bytes / 2 ** (10 * power), 1)}${units[power]}`;
}

/** "12 s, 1.1Gi sent, score +0.1": as far as it is known. */
export function describeEffect(effect: Effect): string {
  return FIELDS.flatMap((field) => (effect[field] === undefined ? [] : [WORDS[field](effect[field])])).join(
    ", ",
  );
}

/** Of several moves in all: of each figure what is known of it. */
export function sumEffects(effects: readonly (Effect | undefined)[]): Effect {
  const sums: Effect = {};
  for (const effect of effects)
    for (const field of FIELDS)
      if (effect?.[field] !== undefined) sums[field] = round((sums[field] ?? 0) + effect[field], 3);
  return sums;
}

/** "0.4 processors used (0.5 expected), 20 W less (25 W less expected)": some minutes after a move. */
export function describeMeasured(
  { cpus, watts, expectedWatts }: Measured,
  { expectedCpus }: Pick<BothHosts, "expectedCpus"> = {},
): string {
  const beside = (text: string | undefined) => (text === undefined ? "" : ` (${text} expected)`);
  const used = `${round(cpus, 2)} processors used${beside(expectedCpus === undefined ? undefined : String(round(expectedCpus, 2)))}`;
  if (watts === undefined) return used;
  return `${used}, ${WORDS.watts(watts)}${beside(expectedWatts === undefined ? undefined : WORDS.watts(expectedWatts))}`;
}
