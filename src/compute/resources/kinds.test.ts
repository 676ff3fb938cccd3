import { describe, expect, it } from "vitest";
import {
  adjusted,
  checkResources,
  cpusOf,
  lackOfReserved,
  memoryOf,
  type Reservable,
  type Resources,
  reservedBy,
} from "./kinds.ts";

const machine = (cpus: number, memory: string, resources: Resources, node?: number) => {
  const reserved = reservedBy({ cpus, memory, resources }, node);
  if (!reserved) throw new Error("it asks for nothing");
  return reserved;
};
const pages = [{ size: "2Mi" as const, memory: "1Gi" }];
const node = (id: number) => ({
  id,
  cpus: 8,
  dedicatedCpus: id === 0 ? 3 : 4,
  memory: "8Gi",
  hugepages: pages,
});
const HOST: Reservable = {
  dedicatedCpus: 7,
  hugepages: [{ size: "2Mi", memory: "2Gi" }],
  numaNodes: [node(0), node(1)],
};

describe("what a machine has of its host alone", () => {
  it("is nothing unless asked for", () => {
    expect(reservedBy({ cpus: 2, memory: "1Gi" })).toBeUndefined();
    expect(reservedBy({ cpus: 2, memory: "1Gi", resources: { cpuWeight: 5 } })).toBeUndefined();
  });

  it("CPUs: as many as are left, on a host that has some", () => {
    const four = machine(4, "1Gi", { dedicatedCpus: true });
    expect(lackOfReserved(HOST, four, [])).toBeUndefined();
    expect(lackOfReserved(HOST, four, [four])).toContain("has 3 of 7 CPUs left to give to one machine alone");
    expect(lackOfReserved({}, four, [])).toContain("has no CPUs to give to one machine alone");
  });

  it("huge pages: counted apart, with what would bring them", () => {
    const big = machine(1, "1536Mi", { hugepages: "2Mi" });
    expect(lackOfReserved(HOST, big, [])).toBeUndefined();
    expect(lackOfReserved(HOST, big, [big])).toContain("has 512Mi of 2Gi in huge pages of 2Mi left");
    expect(lackOfReserved({}, big, [])).toContain("sysctl vm.nr_hugepages=768");
    expect(lackOfReserved(HOST, machine(1, "1Gi", { hugepages: "1Gi" }), [])).toContain("hugepagesz=1G");
    expect(memoryOf({ cpus: 1, memory: "1Gi", resources: { hugepages: "2Mi" } })).toBe(0);
  });

  it("a NUMA node: CPUs and memory have to fit on one", () => {
    const single = (cpus: number, memory: string, at?: number, more: Resources = {}) =>
      machine(cpus, memory, { singleNumaNode: true, ...more }, at);
    expect(lackOfReserved(HOST, single(4, "6Gi"), [])).toBeUndefined();
    expect(lackOfReserved(HOST, single(9, "1Gi"), [])).toContain("no NUMA node with room");
    expect(lackOfReserved(HOST, single(1, "9Gi"), [])).toContain("no NUMA node with room");
    // 6 of 8 GiB of each are taken.
    const both = [single(1, "6Gi", 0), single(1, "6Gi", 1)];
    expect(lackOfReserved(HOST, single(1, "3Gi"), both)).toContain("no NUMA node with room");
    // One that is not placed yet may come to be on either.
    expect(lackOfReserved(HOST, single(1, "3Gi"), [single(1, "6Gi")])).toContain("no NUMA node with room");
    expect(lackOfReserved(HOST, single(1, "3Gi"), [single(1, "6Gi", 0)])).toBeUndefined();
    const own = { dedicatedCpus: true };
    expect(lackOfReserved(HOST, single(4, "1Gi", undefined, own), [])).toBeUndefined();
    expect(lackOfReserved(HOST, single(4, "1Gi", undefined, own), [single(1, "1Gi", 1, own)])).toContain(
      "4 CPUs of its own",
    );
    const huge = { hugepages: "2Mi" } as const;
    expect(
      lackOfReserved(HOST, single(1, "1Gi", undefined, huge), [single(1, "1Gi", 0, huge)]),
    ).toBeUndefined();
    // Huge pages of a machine that is on no node may be of any.
    expect(lackOfReserved(HOST, single(1, "1Gi", undefined, huge), [machine(1, "512Mi", huge)])).toContain(
      "no NUMA",
    );
    expect(lackOfReserved({}, single(1, "1Gi"), [])).toContain("does not tell its NUMA nodes");
  });

  it("a CPU of its own counts as the shared ones whose place it takes", () => {
    expect(cpusOf({ cpus: 3, memory: "1Gi", resources: { dedicatedCpus: true } })).toBe(6);
    expect(cpusOf({ cpus: 3, memory: "1Gi" })).toBe(3);
  });
});

it("a run keeps what is its own, and takes over all else", () => {
  expect(adjusted({ cpuWeight: 1, hugepages: "2Mi" }, { cpuWeight: 2, dedicatedCpus: true })).toEqual({
    cpuWeight: 2,
    hugepages: "2Mi",
  });
  expect(adjusted({ cpuWeight: 1 }, undefined)).toBeUndefined();
});

it("refuses what goes not together", () => {
  const fields = (resources: Resources, memory = "64Mi") =>
    checkResources({ resources, memory }).map(({ field, message }) => `${field} ${message}`);
  expect(fields({ dedicatedCpus: true, hugepages: "2Mi" })).toEqual([]);
  expect(fields({ dedicatedCpus: true, cpuLimit: 1 })).toEqual([
    expect.stringContaining("spec.resources.cpuLimit"),
  ]);
  expect(fields({ hugepages: "2Mi" }, "65Mi")).toEqual([expect.stringContaining("make it 66Mi")]);
  expect(fields({ hugepages: "1Gi" }, "512Mi")).toEqual([expect.stringContaining("make it 1Gi")]);
});
