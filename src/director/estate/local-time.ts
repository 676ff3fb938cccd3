/** What the time is in a time zone. Pure. */
import { hint } from "../../resource/nearest.ts";

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

const HOUR_MS = 3_600_000;
const WEEK_HOURS = 168;
/** So many hours are kept of each time zone: to ask for one takes some ten microseconds. */
const KEPT = 1000;

/** By time zone and hour since the epoch. */
const keptByHour = (find: (timeZone: string, hour: number) => number) => {
  const zones = new Map<string, Map<number, number>>();
  return (timeZone: string, hour: number): number => {
    const known = zones.get(timeZone) ?? new Map<number, number>();
    let found = known.get(hour);
    if (found !== undefined) return found;
    found = find(timeZone, hour);
    if (known.size >= KEPT) known.clear();
    known.set(hour, found);
    zones.set(timeZone, known);
    return found;
  };
};

const offsetOf = keptByHour((timeZone, hour) => {
  const time = localTime(timeZone, hour * HOUR_MS);
  // 1 January 1970 was a Thursday.
  const local = time ? (((time.day + 4) % 7) * 24 + Math.floor(time.minutes / 60)) % WEEK_HOURS : undefined;
  const ahead = local === undefined ? 0 : (((local - hour) % WEEK_HOURS) + WEEK_HOURS) % WEEK_HOURS;
  return ahead > WEEK_HOURS / 2 ? ahead - WEEK_HOURS : ahead;
});

/** By how many hours clocks there are ahead of UTC, rounded down; of a time zone that there is not, 0. @param now ms since the epoch */
export const offsetHours = (timeZone: string, now: number): number =>
  timeZone === "UTC" ? 0 : offsetOf(timeZone, Math.floor(now / HOUR_MS));

const summerOf = keptByHour((timeZone, hour) => {
  const year = new Date(hour * HOUR_MS).getUTCFullYear();
  const [january, july] = [0, 6].map((month) => offsetHours(timeZone, Date.UTC(year, month)));
  return offsetHours(timeZone, hour * HOUR_MS) - Math.min(january ?? 0, july ?? 0);
});

/** By how many hours clocks there are ahead of what they show without summer time. @param now ms since the epoch */
export const summerHours = (timeZone: string, now: number): number =>
  timeZone === "UTC" ? 0 : summerOf(timeZone, Math.floor(now / HOUR_MS));

/** Undefined: there is such a time zone. */
export function timeZoneFault(timeZone: string): string | undefined {
  return localTime(timeZone, 0)
    ? undefined
    : `is no time zone${hint(timeZone, Intl.supportedValuesOf("timeZone"))}`;
}
