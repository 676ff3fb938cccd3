/** Times of a policy that can never come, or that never end: refused or told when the policy is written. Pure. */
import { isDeepStrictEqual } from "node:util";
import type { Host } from "../../compute/hosts/kinds.ts";
import { type Cause, invalidValue } from "../../resource/errors.ts";
import type { Lookup } from "../../resource/kind.ts";
import type { Window } from "../../resource/window.ts";
import { timeZoneFault } from "../estate/local-time.ts";
import { hasMinute } from "../estate/windows.ts";
import type { Policy } from "../kinds.ts";
import { Site } from "../sites.ts";

type Spec = Policy["spec"];

/** Each with its field. */
const windowsOf = ({ goals = [], moves }: Spec): [field: string, window: Window][] => [
  ...(moves?.quiet ?? []).map((window, i): [string, Window] => [`spec.moves.quiet[${i}]`, window]),
  ...goals.flatMap(({ during }, i): [string, Window][] =>
    during ? [[`spec.goals[${i}].during`, during]] : [],
  ),
];

/** Of a site now. */
const FIGURES = { price: "pricePerKWh", carbon: "carbonPerKWh" } as const;
const NAMES = ["price", "carbon"] as const;

/** @param old what never holds and was stored before is not held against who changes something else */
export function checkWindows({ spec }: Policy, old: Policy | undefined): Cause[] {
  const had = old ? windowsOf(old.spec) : [];
  return windowsOf(spec).flatMap(([field, window]) =>
    checkWindow(
      field,
      window,
      had.some(([, before]) => isDeepStrictEqual(before, window)),
    ),
  );
}

/** Of the wake tests of a host. */
export function checkWakeTest({ spec }: Host): Cause[] {
  const { during } = spec.powerManagement?.wakeTest ?? {};
  return during ? checkWindow("spec.powerManagement.wakeTest.during", during, false) : [];
}

export function warnWakeTest({ spec }: Host, old: Host | undefined, lookup: Lookup): string[] {
  const { during } = spec.powerManagement?.wakeTest ?? {};
  if (!during || isDeepStrictEqual(during, old?.spec.powerManagement?.wakeTest?.during)) return [];
  return untold([["spec.powerManagement.wakeTest.during", during]], lookup);
}

function checkWindow(field: string, window: Window, isOld: boolean): Cause[] {
  const invalid = (member: "timeZone" | "price" | "carbon", why: string) =>
    invalidValue(`${field}.${member}`, window[member], why);
  const fault = window.timeZone === undefined ? undefined : timeZoneFault(window.timeZone);
  return [
    ...(fault ? [invalid("timeZone", fault)] : []),
    ...NAMES.flatMap((name) => {
      const why = isOld ? undefined : neverPasses(window[name]);
      return why ? [invalid(name, why)] : [];
    }),
  ];
}

function neverPasses(threshold: Window["price"]): string | undefined {
  const { above = -1, below = Number.POSITIVE_INFINITY } = threshold ?? {};
  if (below === 0) return "can never hold: nothing is below 0";
  return above >= below
    ? `can never hold: nothing is above ${above} and below ${below}; write two times for what is outside of both`
    : undefined;
}

/** What may be meant, and hardly is. */
export function warnWindows({ spec }: Policy, old: Policy | undefined, lookup: Lookup): string[] {
  if (old && isDeepStrictEqual(windowsOf(spec), windowsOf(old.spec))) return [];
  const unknown = untold(windowsOf(spec), lookup);
  const { quiet } = spec.moves ?? {};
  return quiet && coversWeek(quiet)
    ? [
        ...unknown,
        "spec.moves.quiet covers the whole week: the director never moves machines of this policy by itself but out of hosts in maintenance; spec.automation: off says the same",
      ]
    : unknown;
}

/** Of these no Site tells what they are by. */
const untold = (windows: readonly (readonly [field: string, window: Window])[], lookup: Lookup): string[] =>
  windows.flatMap(([field, window]) =>
    NAMES.flatMap((name) => {
      const why = unknownAt(window[name]?.site, name, lookup);
      return why ? [`${field}.${name}.site: ${why}, so that time does not come until it is`] : [];
    }),
  );

function unknownAt(site: string | undefined, name: "price" | "carbon", lookup: Lookup): string | undefined {
  if (site === undefined) return undefined;
  const found = lookup.list(Site).find(({ metadata }) => metadata.name === site);
  if (!found) return `no Site ${JSON.stringify(site)} is there`;
  return found.spec?.[FIGURES[name]] ? undefined : `Site ${JSON.stringify(site)} has no ${FIGURES[name]}`;
}

const DAYS = 7;
const MINUTES = 24 * 60;

/** Whether those of one time zone leave no minute of the week. */
function coversWeek(quiet: readonly Window[]): boolean {
  const always = quiet.filter(({ price, carbon }) => !price && !carbon);
  const zones = Map.groupBy(always, ({ timeZone = "UTC" }) => timeZone);
  return [...zones.values()].some((windows) => {
    for (let day = 0; day < DAYS; day++)
      for (let minutes = 0; minutes < MINUTES; minutes++)
        if (!windows.some((window) => hasMinute(window, { day, minutes }))) return false;
    return true;
  });
}
