/** What power costs and emits at each site now, and what the time is there. Pure. */
import { hint } from "../../resource/nearest.ts";
import type { Site } from "../sites.ts";

export interface Tariff {
  /** Power usage effectiveness: what the building takes for each watt of a host. */
  pue: number;
  /** Of a kilowatt-hour. */
  price?: number;
  /** Grams of CO2 of a kilowatt-hour. */
  carbon?: number;
}

/** By the name of the site. */
export type Tariffs = ReadonlyMap<string, Tariff>;
export const NO_TARIFFS: Tariffs = new Map();

const formats = new Map<string, Intl.DateTimeFormat>();

/** The weekday (0: Monday) and the minutes since midnight; undefined: there is no such time zone. @param now ms since the epoch */
export function localTime(timeZone: string, now: number): { day: number; minutes: number } | undefined {
  let format = formats.get(timeZone);
  if (!format) {
    const parts = { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
    try {
      format = new Intl.DateTimeFormat("en-US", { timeZone, ...parts });
    } catch {
      return undefined;
    }
    formats.set(timeZone, format);
  }
  const parts = new Map(format.formatToParts(now).map(({ type, value }) => [type, value]));
  return {
    day: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].indexOf(parts.get("weekday") ?? ""),
    minutes: Number(parts.get("hour")) * 60 + Number(parts.get("minute")),
  };
}

/** Undefined: there is such a time zone. */
export function timeZoneFault(timeZone: string): string | undefined {
  return localTime(timeZone, 0)
    ? undefined
    : `is no time zone${hint(timeZone, Intl.supportedValuesOf("timeZone"))}`;
}

/** @param now ms since the epoch */
export function tariffsOf(sites: readonly Site[], now: number): Tariffs {
  return new Map(
    sites.map(({ metadata: { name }, spec }) => {
      const time = localTime(spec.timeZone, now);
      const hour = time && Math.floor(time.minutes / 60);
      const at = (values: readonly number[] = []) => (values.length === 1 ? values[0] : values[hour ?? -1]);
      const [price, carbon] = [at(spec.pricePerKWh), at(spec.carbonPerKWh)];
      return [
        name,
        {
          pue: at(spec.pue) ?? 1,
          ...(price === undefined ? {} : { price }),
          ...(carbon === undefined ? {} : { carbon }),
        },
      ] as const;
    }),
  );
}
