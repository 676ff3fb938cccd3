/** The kind Site: what power costs and emits at a site, by the hour. Hosts name their site in spec.site; one without a Site has no such figures. */
import { Type } from "typebox";
import { type Cause, invalidValue } from "../resource/errors.ts";
import { defineKind, type ObjectOf, rules } from "../resource/kind.ts";
import { timeZoneFault } from "./estate/local-time.ts";

const Hourly = (description: string, minimum = 0) =>
  Type.Array(Type.Number({ minimum }), {
    minItems: 1,
    maxItems: 24,
    description: `${description} One number, or 24: for each hour from midnight on, in its time zone.`,
    ...rules({ rule: "size(self) in [1, 24]", message: "has one number, or one for each of the 24 hours" }),
  });

export const Site = defineKind({
  kind: "Site",
  plural: "sites",
  namespaced: false,
  description:
    "Site says what power costs at a site, what it emits, and how much the building takes besides its hosts. Its name is what hosts have in spec.site.",
  spec: Type.Object({
    timeZone: Type.String({
      default: "UTC",
      maxLength: 64,
      description: "Of the hours: Europe/Berlin, say.",
    }),
    pricePerKWh: Type.Optional(Hourly("Price of a kilowatt-hour, in one currency for all sites.")),
    carbonPerKWh: Type.Optional(Hourly("Grams of CO2 that a kilowatt-hour emits.")),
    pue: Type.Optional(
      Hourly(
        "Power usage effectiveness: what the building takes, cooling included, for each watt of a host.",
        1,
      ),
    ),
  }),
  columns: [{ name: "Time Zone", type: "string", jsonPath: ".spec.timeZone" }],
});
export type Site = ObjectOf<typeof Site>;

export function checkSite({ spec: { timeZone } }: Site): Cause[] {
  const fault = timeZoneFault(timeZone);
  return fault ? [invalidValue("spec.timeZone", timeZone, fault)] : [];
}
