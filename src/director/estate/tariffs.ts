/** What power costs and emits at each site now. Pure. */
import type { Site } from "../sites.ts";
import type { HostView } from "./estate.ts";
import { localTime } from "./local-time.ts";

export interface Tariff {
  /** Power usage effectiveness: what the building takes for each watt of a host. */
  pue: number;
  /** Of a kilowatt-hour. */
  price?: number;
  /** Grams of CO2 of a kilowatt-hour. */
  carbon?: number;
  /** What clocks there show. */
  timeZone?: string;
}

/** By the name of the site. */
export type Tariffs = ReadonlyMap<string, Tariff>;
export const NO_TARIFFS: Tariffs = new Map();

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
          timeZone: spec.timeZone,
        },
      ] as const;
    }),
  );
}

/** The hosts, of which rules of policies see what power costs there. */
export const withTariffs = (hosts: readonly HostView[], tariffs: Tariffs): HostView[] =>
  hosts.map((host) => {
    const tariff = tariffs.get(host.site);
    return tariff ? { ...host, tariff } : host;
  });
