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

const offsets = new Map<string, { at: number; hours: number }>();
const HOUR_MS = 3_600_000;
const WEEK_HOURS = 168;

/** By how many hours clocks there are ahead of UTC, rounded down; of a time zone that there is not, 0. @param now ms since the epoch */
export function offsetHours(timeZone: string, now: number): number {
  const hour = Math.floor(now / HOUR_MS);
  const known = offsets.get(timeZone);
  if (known?.at === hour) return known.hours;
  const time = timeZone === "UTC" ? undefined : localTime(timeZone, hour * HOUR_MS);
  // 1 January 1970 was a Thursday.
  const local = time ? (((time.day + 4) % 7) * 24 + Math.floor(time.minutes / 60)) % WEEK_HOURS : undefined;
  const ahead = local === undefined ? 0 : (((local - hour) % WEEK_HOURS) + WEEK_HOURS) % WEEK_HOURS;
  const hours = ahead > WEEK_HOURS / 2 ? ahead - WEEK_HOURS : ahead;
  offsets.set(timeZone, { at: hour, hours });
  return hours;
}

/** Undefined: there is such a time zone. */
export function timeZoneFault(timeZone: string): string | undefined {
  return localTime(timeZone, 0)
    ? undefined
    : `is no time zone${hint(timeZone, Intl.supportedValuesOf("timeZone"))}`;
}
