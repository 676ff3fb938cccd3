/** What a plan changes in the estate in all, in words. Pure, and without the kind's schema: the web UI says it, too. */
import type { EstateFigures, Outlook } from "./kinds.ts";

/** Figures are as exact as their words: two that read alike are alike. */
export interface Change {
  name: string;
  before: number;
  after: number;
  /** "1,200 W" */
  text: (value: number) => string;
}

const number = (value: number, digits: number) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

const FIELDS: readonly (readonly [keyof EstateFigures, string, string])[] = [
  ["hostsInUse", "hosts in use", ""],
  ["watts", "watts", " W"],
  ["costPerHour", "cost an hour", ""],
  ["carbonGramsPerHour", "CO2 an hour", " g"],
  ["rulesBroken", "rules broken", ""],
];

/** After the point. */
const digitsOf = (field: keyof EstateFigures, value: number) =>
  field !== "costPerHour" || value >= 1000 ? 0 : value < 10 ? 3 : 2;

/** Of the figures that are known before and after. */
export function changesOf({ before, after }: Outlook): Change[] {
  return FIELDS.flatMap(([field, name, unit]) => {
    const [was, will] = [before[field], after[field]];
    if (was === undefined || will === undefined) return [];
    const told = (value: number) => Number(value.toFixed(digitsOf(field, value)));
    const text = (value: number) => `${number(value, digitsOf(field, value))}${unit}`;
    return [{ name, before: told(was), after: told(will), text }];
  });
}

/** "2 of these hosts do not tell their watts: they are not in the sums"; undefined: all do. */
export function untoldOf({ before, after }: Outlook): string | undefined {
  const most = Math.max(before.hostsWithoutWatts ?? 0, after.hostsWithoutWatts ?? 0);
  if (most === 0) return undefined;
  return most === 1
    ? "One of the hosts in use does not tell its watts: it is not in the sums."
    : `${most} of the hosts in use do not tell their watts: they are not in the sums.`;
}
