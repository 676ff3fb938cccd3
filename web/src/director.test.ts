/** The browser's estate is the one that `vireo explain` reads. */
import { expect, it } from "vitest";
import { INVALID } from "../../src/resource/invalid.ts";
import type { Host, Site } from "./data/kinds.ts";
import { estateOf } from "./director.ts";

it("knows the time, the sites' tariffs, and which objects are odd", () => {
  const host = (name: string, annotations = {}) =>
    ({
      apiVersion: "vireo.dev/v1",
      kind: "Host",
      metadata: { name, annotations },
      spec: {},
      status: { capacity: { cpus: 4, memory: "8Gi" } },
    }) as Host;
  const site = {
    metadata: { name: "north" },
    spec: { timeZone: "UTC", pue: [1.2], pricePerKWh: Array.from({ length: 24 }, (_, hour) => hour) },
  } as Site;
  const none = { machines: [], instances: [], policies: [], migrations: [], pools: [] };
  const now = Date.UTC(2026, 0, 5, 7, 30);
  const estate = estateOf(
    { ...none, hosts: [host("a"), host("b", { [INVALID]: "spec: no" })], sites: [site] },
    now,
  );
  expect(estate.now).toBe(now);
  expect(estate.sites?.get("north")).toEqual({ pue: 1.2, price: 7 });
  expect(estate.odd).toContainEqual({ object: "Host/b", message: "spec: no" });
  expect(estate.hosts.map(({ name }) => name)).not.toContain("b");
});
