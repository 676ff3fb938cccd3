/** What a plan changes in the estate in all, in words. Pure, and without the kind's schema: the web UI says it, too. */
import type { EstateFigures, Outlook } from "../kinds.ts";

export interface Change {
  name: string;
  before: number;
  after: number;
  /** "1,200 W" */
  text: (value: number) => string;
}

const number = (value: number, digits = 0) =>
  value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

const FIELDS: readonly (readonly [keyof EstateFigures, string, (value: number) => string])[] = [
  ["hostsInUse", "hosts in use", number],
  ["watts", "watts", (value) => `${number(value)} W`],
  ["costPerHour", "cost an hour", (value) => number(value, value < 10 ? 3 : 0)],
  ["carbonGramsPerHour", "CO2 an hour", (value) => `${number(value)} g`],
  ["rulesBroken", "rules broken", number],
];

/** Of the figures that are known before and after. */
export function changesOf({ before, after }: Outlook): Change[] {
  return FIELDS.flatMap(([field, name, text]) => {
    const [was, will] = [before[field], after[field]];
    return was === undefined || will === undefined ? [] : [{ name, before: was, after: will, text }];
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
