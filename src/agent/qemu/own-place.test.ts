import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Resources } from "../../compute/resources/kinds.ts";
import { choosePlace, floatingCpus, type Place, type Placed, sharedCpus } from "./own-place.ts";
import { formatList, hugeBytes, parseList, readTopology, reservableOf } from "./topology.ts";

const MiB = 2 ** 20;
let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), "vireo-sys-"));
});
afterEach(() => rmSync(sys, { recursive: true }));
const put = (file: string, text: string) => {
  mkdirSync(dirname(join(sys, file)), { recursive: true });
  writeFileSync(join(sys, file), `${text}\n`);
};

/** Two nodes of two cores of two threads, as Linux numbers them: siblings are 4 apart. */
function twoNodes() {
  put("devices/system/cpu/online", "0-7");
  for (let cpu = 0; cpu < 8; cpu++)
    put(`devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`, `${cpu % 4},${(cpu % 4) + 4}`);
  for (const id of [0, 1]) {
    put(`devices/system/node/node${id}/cpulist`, id === 0 ? "0-1,4-5" : "2-3,6-7");
    put(`devices/system/node/node${id}/meminfo`, `Node ${id} MemTotal:  8388608 kB`);
    put(`devices/system/node/node${id}/hugepages/hugepages-2048kB/nr_hugepages`, id === 0 ? "512" : "0");
    put(`devices/system/node/node${id}/hugepages/hugepages-2048kB/free_hugepages`, id === 0 ? "500" : "0");
  }
  return readTopology(sys, parseList("0-7"));
}

it("reads lists of CPUs as Linux writes them", () => {
  expect(parseList("0-2,5\n")).toEqual([0, 1, 2, 5]);
  expect(parseList("")).toEqual([]);
  expect(formatList([5, 0, 2, 1])).toBe("0-2,5");
});

describe("a host of two nodes", () => {
  it("tells its nodes and cores, and what of it may be one machine's", () => {
    const topology = twoNodes();
    expect(topology.cores).toEqual([
      [0, 4],
      [1, 5],
      [2, 6],
      [3, 7],
    ]);
    expect(topology.nodes[0]).toEqual({
      id: 0,
      cpus: "0-1,4-5",
      memoryBytes: 8 * 2 ** 30,
      hugepages: [{ size: "2Mi", count: 512, free: 500 }],
    });
    expect(reservableOf(topology)).toMatchObject({
      dedicatedCpus: 6,
      hugepages: [{ size: "2Mi", memory: "1Gi" }],
      numaNodes: [
        { id: 0, cpus: 8, dedicatedCpus: 2, memory: "7Gi" },
        { id: 1, cpus: 8, dedicatedCpus: 4, memory: "8Gi", hugepages: [] },
      ],
    });
    expect(hugeBytes(topology)).toBe(2 ** 30);
  });

  it("has only the CPUs that we may use, and one node where the kernel knows none", () => {
    put("devices/system/cpu/online", "0-3");
    const topology = readTopology(sys, [0, 2]);
    expect(topology.cores).toEqual([[0], [2]]);
    expect(topology.nodes).toMatchObject([{ id: 0, cpus: "0,2" }]);
  });

  const machine = (cpus: number, resources: Resources, place: Place = {}): Placed => ({
    cpus,
    memoryBytes: 64 * MiB,
    resources,
    place,
  });
  const own = { dedicatedCpus: true };

  it("gives whole cores first, of one node, and no CPU twice", () => {
    const topology = twoNodes();
    const place = (cpus: number, others: Placed[], resources: Resources = own) =>
      choosePlace(topology, machine(cpus, resources), others);
    expect(place(2, [])).toEqual({ cpus: [1, 5], node: 0 });
    const first = machine(2, own, { cpus: [1, 5], node: 0 });
    expect(place(1, [first])).toEqual({ cpus: [2], node: 1 });
    const second = machine(1, own, { cpus: [2], node: 1 });
    // The other half of that core goes to one that needs just that.
    expect(place(1, [first, second])).toEqual({ cpus: [6], node: 1 });
    expect(place(2, [first, second])).toEqual({ cpus: [3, 7], node: 1 });
    expect(place(4, [first, second])).toContain("has 3 of 6 CPUs left");
    // Over two nodes when none has enough.
    expect(place(5, [])).toEqual({ cpus: [1, 5, 2, 6, 3] });
    expect(place(5, [], { ...own, singleNumaNode: true })).toContain("no NUMA node");
  });

  it("binds memory to the emptiest node with room", () => {
    const topology = twoNodes();
    const single = { singleNumaNode: true };
    const place = (others: Placed[], resources: Resources = single) =>
      choosePlace(topology, machine(1, resources), others);
    expect(place([])).toEqual({ node: 0, bound: true });
    expect(place([machine(1, single, { node: 0, bound: true })])).toEqual({ node: 1, bound: true });
    // Where its huge pages are.
    const huge = { singleNumaNode: true, hugepages: "2Mi" } as const;
    expect(place([machine(1, single, { node: 0, bound: true })], huge)).toEqual({ node: 0, bound: true });
    expect(place([], { hugepages: "2Mi" })).toEqual({});
    expect(place([], {})).toBeUndefined();
  });

  it("leaves to all others what is nobody's own, near their memory", () => {
    const topology = twoNodes();
    const shared = sharedCpus(topology, [{ cpus: [1, 5] }, {}]);
    expect(shared).toEqual([0, 4, 2, 6, 3, 7]);
    expect(formatList(floatingCpus(topology, { node: 1, bound: true }, shared))).toBe("2-3,6-7");
    expect(formatList(floatingCpus(topology, {}, shared))).toBe("0,2-4,6-7");
  });
});
