/** What a policy cannot keep with more than one machine where there is but one place for them: because there is no other, or its own rules allow no other. Pure. */
import type { Level } from "../estate/estate.ts";
import { DOMAINS, isWithin, type Policy } from "../kinds.ts";
import { short } from "./against-others.ts";
import { ofPlaces } from "./between.ts";
import { onlyOne } from "./contradictions.ts";
import type { Work } from "./ranges.ts";

/** What two machines of the policy cannot keep where there are so many sites, racks, … */
export const brokenIn = (places: number, spec: Policy["spec"]) =>
  ofPlaces(spec, spec).filter(
    ({ bears }) => bears === "always" || bears({ both: 2, chosen: 2, places: () => places }),
  );

/** Of what is one place. Racks, rows and feeds of two sites may be called the same. */
const PLACED: Record<Level, string> = {
  host: "host.name",
  rack: "host.rack",
  row: "host.row",
  feed: "host.feed",
  site: "host.site",
};

/** Rules that let all be in one place, beside what needs two, in words. */
export function onlyOnePlace(spec: Policy["spec"], work?: Work): string[] {
  const { required = [], failover, keepApart, atMost } = spec;
  if (required.length === 0 || !(failover || keepApart || atMost)) return [];
  const told = new Map<string, string>();
  for (const level of DOMAINS) {
    const one = onlyOne(required, PLACED[level], work);
    if (!one) continue;
    const beside = `beside spec.required[${one.nth}] (${short(required[one.nth] ?? "")}), which allows but one ${level}`;
    for (const { fields, texts } of brokenIn(1, { ...spec, keepTogether: level }))
      told.set(fields[1], `${fields[1]} (${texts[1]}) can hold for no two machines ${beside}`);
    if (failover && isWithin(level, failover.per))
      told.set(
        "spec.failover",
        `spec.failover (per ${failover.per}) can never hold ${beside}: when that is lost there is no other`,
      );
  }
  return [...told.values()];
}
