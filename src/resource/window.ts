/** A time that comes again: hours and days in a time zone, or what power costs or emits now. Whether it is that time the director knows. Pure. */
import { type Static, Type } from "typebox";
import { AS_ONE, Name, rules, Words } from "./kind.ts";

export const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

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
