/** When a goal counts: hours and days in a time zone, or what power costs or emits now (sites.ts). Pure. */
import { type Static, Type } from "typebox";
import { AS_ONE, Name, rules, Words } from "../../resource/kind.ts";
import { localTime } from "../estate/local-time.ts";
import type { Tariffs } from "../estate/tariffs.ts";

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

const Threshold = (description: string) =>
  Type.Object(
    {
      above: Type.Optional(Type.Number({ minimum: 0 })),
      below: Type.Optional(Type.Number({ minimum: 0 })),
      site: Type.Optional(Name("Of this Site; of any when absent.")),
    },
    {
      description,
      ...AS_ONE,
      ...rules({ rule: "has(self.above) || has(self.below)", message: "say above, below, or both" }),
    },
  );

export const Window = Type.Object(
  {
    hours: Type.Optional(
      Type.String({
        pattern: "^([01]\\d|2[0-3]):[0-5]\\d-([01]\\d|2[0-3]):[0-5]\\d$",
        description:
          "08:00-18:00, or over midnight 22:00-06:00; the night belongs to the day on which it begins.",
      }),
    ),
    days: Type.Optional(Type.Array(Words(DAYS), { minItems: 1, maxItems: 7 })),
    timeZone: Type.Optional(
      Type.String({ maxLength: 64, description: "Of hours and days: Europe/Berlin, say; UTC when absent." }),
    ),
    price: Type.Optional(Threshold("What a kilowatt-hour costs now, by the Sites.")),
    carbon: Type.Optional(Threshold("Grams of CO2 for a kilowatt-hour now, by the Sites.")),
  },
  {
    ...AS_ONE,
    ...rules({
      rule: "has(self.hours) || has(self.days) || has(self.price) || has(self.carbon)",
      message: "say hours, days, price or carbon",
    }),
  },
);
export type Window = Static<typeof Window>;

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

function passes(threshold: Window["price"], sites: Tariffs, of: "price" | "carbon"): boolean {
  if (!threshold) return true;
  const { above = Number.NEGATIVE_INFINITY, below = Number.POSITIVE_INFINITY, site } = threshold;
  return [...sites].some(([name, tariff]) => {
    const value = tariff[of];
    return (site === undefined || name === site) && value !== undefined && value > above && value < below;
  });
}
