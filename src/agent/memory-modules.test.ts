/** Memory modules as the firmware tells them, and the NUMA node of each where that is certain. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { onNodes, parseMemoryModules, type ToldModule } from "./memory-modules.ts";
import { readTopology } from "./qemu/topology.ts";

const GiB = 2 ** 30;

describe("dmidecode -t memory", () => {
  const RECORDED = `# dmidecode 3.4
Getting SMBIOS data from sysfs.
SMBIOS 3.2.0 present.

Handle 0x0024, DMI type 16, 23 bytes
Physical Memory Array
	Location: System Board Or Motherboard
	Maximum Capacity: 1536 GB
	Number Of Devices: 3

Handle 0x0026, DMI type 17, 84 bytes
Memory Device
	Array Handle: 0x0024
	Total Width: 72 bits
	Data Width: 64 bits
	Size: 32 GB
	Form Factor: DIMM
	Locator: P1-DIMMA1
	Bank Locator: P0_Node0_Channel0_Dimm0
	Type: DDR4
	Type Detail: Synchronous
	Speed: 2933 MT/s
	Configured Memory Speed: 2666 MT/s

Handle 0x0028, DMI type 17, 84 bytes
Memory Device
	Size: No Module Installed
	Locator: P1-DIMMA2
	Type: Unknown
	Speed: Unknown

Handle 0x002A, DMI type 17, 84 bytes
Memory Device
	Size: 16384 MB
	Locator: P1-DIMMB1
	Bank Locator: P0_Node0_Channel1_Dimm0
	Type: DDR4
	Speed: Unknown
`;
  it("lists the modules that are there, with the speed they can do", () => {
    expect(parseMemoryModules(RECORDED)).toEqual([
      { locator: "P1-DIMMA1", sizeBytes: 32 * 2 ** 30, type: "DDR4", speedMTs: 2933, ecc: true, socket: 1 },
      { locator: "P1-DIMMB1", sizeBytes: 16 * 2 ** 30, type: "DDR4", speedMTs: 0, socket: 1 },
    ]);
  });
  it("of a machine without SMBIOS, or that is no such text, gives none", () => {
    expect(parseMemoryModules("# dmidecode 3.4\n# No SMBIOS nor DMI entry point found, sorry.\n")).toEqual(
      [],
    );
    expect(parseMemoryModules("")).toEqual([]);
    expect(parseMemoryModules("Memory Device\n\tSize: many GB\n")).toEqual([]);
  });
});

/** As servers have been seen to name two modules of each of two processors. */
const NAMES = {
  Supermicro: [
    ["P1-DIMMA1", "P0_Node0_Channel0_Dimm0"],
    ["P1-DIMMB1", "P0_Node0_Channel1_Dimm0"],
    ["P2-DIMME1", "P1_Node1_Channel0_Dimm0"],
    ["P2-DIMMF1", "P1_Node1_Channel1_Dimm0"],
  ],
  HPE: [1, 2].flatMap((p) => [1, 12].map((n) => [`PROC ${p} DIMM ${n}`, "Not Specified"])),
  Gigabyte: [0, 1].flatMap((p) => ["A0", "B0"].map((n) => [`DIMM_P${p}_${n}`, "BANK 0"])),
  Intel: [1, 2].flatMap((p) => ["A1", "B1"].map((n) => [`CPU${p}_DIMM_${n}`, `NODE ${p}`])),
  AMD: [0, 1].flatMap((p) => ["A", "B"].map((n) => ["DIMM 1", `P${p} CHANNEL ${n}`])),
};
const recorded = (names: readonly (readonly string[])[], gib: readonly number[] = []) =>
  names
    .map(
      ([locator, bank], i) =>
        `Memory Device\n\tSize: ${gib[i] ?? 32} GB\n\tLocator: ${locator}\n\tBank Locator: ${bank}\n`,
    )
    .join("\n");
/** Linux has a little less than there is. */
const nodes = (...gib: number[]) =>
  gib.map((size, id) => ({ id, cpus: `${id}`, memoryBytes: size * 0.98 * GiB, hugepages: [] }));
const nodesOf = (told: readonly ToldModule[], ...gib: number[]) =>
  onNodes(told, nodes(...gib)).map(({ numaNode }) => numaNode);

describe("the NUMA node of a module", () => {
  it.each(Object.entries(NAMES))("is that of its processor, as %s names it", (_vendor, names) => {
    expect(nodesOf(parseMemoryModules(recorded(names)), 64, 64)).toEqual([0, 0, 1, 1]);
  });
  it("is the only one there is, whatever it is called", () => {
    expect(nodesOf(parseMemoryModules(recorded([["A1", ""]])), 32)).toEqual([0]);
    // Of this machine, too.
    const { nodes: own } = readTopology();
    const [module] = onNodes(parseMemoryModules(recorded([["A1", ""]])), own);
    expect(module?.numaNode).toBe(own.length === 1 ? own[0]?.id : undefined);
  });
  it("goes by what is there: a node without memory has none", () => {
    const told = parseMemoryModules(recorded(NAMES.HPE.slice(2)));
    expect(nodesOf(told, 0, 64)).toEqual([1, 1]);
  });
  it("is not told where it is not certain", () => {
    const none = [undefined, undefined, undefined, undefined];
    const told = parseMemoryModules(recorded(NAMES.HPE));
    // Two nodes in each processor.
    expect(nodesOf(told, 32, 32, 32, 32)).toEqual(none);
    // Linux has found more, or much less, on a node than its modules would have.
    expect(nodesOf(told, 96, 32)).toEqual(none);
    expect(nodesOf(told, 64, 40)).toEqual(none);
    expect(
      nodesOf(parseMemoryModules(recorded(["A1", "A2", "B1", "B2"].map((n) => [n, ""]))), 64, 64),
    ).toEqual(none);
    expect(nodesOf(told)).toEqual(none);
  });
});

it("any text gives whole numbers from 0, which the API accepts", () => {
  const lines = fc.array(
    fc.oneof(
      fc.string(),
      fc.constantFrom("", "Memory Device", "\tLocator: P99999999999999999999-DIMM", "\tLocator: P2-DIMMA1"),
      fc
        .tuple(
          fc.constantFrom("\tSize", "\tSpeed", "\tLocator", "\tBank Locator"),
          fc.oneof(fc.string(), fc.constantFrom("9e99", "1e400", "-3", "9007199254740991 TB", "8 TB")),
        )
        .map(([name, value]) => `${name}: ${value}`),
    ),
  );
  fc.assert(
    fc.property(lines, (text) => {
      const modules = onNodes(parseMemoryModules(text.join("\n")), nodes(8, 8));
      for (const number of modules.flatMap(({ sizeBytes, speedMTs, numaNode = 0 }) => [
        sizeBytes,
        speedMTs,
        numaNode,
      ])) {
        expect(Number.isSafeInteger(number)).toBe(true);
        expect(number).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});
