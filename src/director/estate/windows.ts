/** When a goal counts: hours and days in a time zone, or what power costs or emits now (sites.ts). Pure. */
import { DAYS, type Window } from "../../resource/window.ts";
import { localTime } from "./local-time.ts";
import type { Tariffs } from "./tariffs.ts";

/** Whether all of it holds. What is not known does not. @param now ms since the epoch */
export function holds(window: Window, now: number | undefined, sites: Tariffs): boolean {
  return (
    ((!window.hours && !window.days) || (now !== undefined && isInHours(window, now))) &&
    passes(window.price, sites, "price") &&
    passes(window.carbon, sites, "carbon")
  );
}

const minutesOf = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));

function isInHours(window: Window, now: number): boolean {
  const time = localTime(window.timeZone ?? "UTC", now);
  return time !== undefined && hasMinute(window, time);
}

/** Whether its hours and days have that minute of the week, in its time zone. @param time as local-time.ts has it */
export function hasMinute(
  { hours, days }: Window,
  { day, minutes }: { day: number; minutes: number },
): boolean {
  const isDay = (one: number) => !days || days.includes(DAYS[(one + 7) % 7] ?? "Mon");
  if (!hours) return isDay(day);
  const [from, to] = [minutesOf(hours.slice(0, 5)), minutesOf(hours.slice(6))];
  if (from < to) return minutes >= from && minutes < to && isDay(day);
  return (minutes >= from && isDay(day)) || (minutes < to && isDay(day - 1));
}

const DAY_MINUTES = 24 * 60;
const WEEK_MS = 7 * DAY_MINUTES * 60_000;
/** Times that follow on each other are followed so often. */
const STEPS = 500;

/**
 * When none of these holds any more, and the one that held last; undefined: not within a week, or what power costs says.
 * @param now ms since the epoch @param sites what power costs and emits is taken to stay so
 */
export function endOfAll(
  windows: readonly Window[],
  now: number,
  sites: Tariffs,
): { at: number; last: Window } | undefined {
  let at = now;
  let last: Window | undefined;
  for (let step = 0; step < STEPS && at - now <= WEEK_MS; step++) {
    const window = windows.find((one) => holds(one, at, sites));
    if (!window) return last && { at, last };
    const time = window.hours || window.days ? localTime(window.timeZone ?? "UTC", at) : undefined;
    if (!time) return undefined;
    const until = window.hours ? minutesOf(window.hours.slice(6)) : DAY_MINUTES;
    const minutes = (until - time.minutes + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES;
    at = (Math.floor(at / 60_000) + minutes) * 60_000;
    last = window;
  }
  return undefined;
}

function passes(threshold: Window["price"], sites: Tariffs, of: "price" | "carbon"): boolean {
  if (!threshold) return true;
  const { above = Number.NEGATIVE_INFINITY, below = Number.POSITIVE_INFINITY, site } = threshold;
  return [...sites].some(([name, tariff]) => {
    const value = tariff[of];
    return (site === undefined || name === site) && value !== undefined && value > above && value < below;
  });
}
