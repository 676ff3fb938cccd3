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

/** Undefined: there is such a time zone. */
export function timeZoneFault(timeZone: string): string | undefined {
  return localTime(timeZone, 0)
    ? undefined
    : `is no time zone${hint(timeZone, Intl.supportedValuesOf("timeZone"))}`;
}
