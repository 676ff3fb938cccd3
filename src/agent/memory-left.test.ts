/** The agent's last word on memory, on recorded procfs. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Instance } from "../compute/kinds.ts";
import { MemoryLeft, readSwap } from "./memory-left.ts";

const GiB = 2 ** 30;
const GiB_IN_KB = 2 ** 20;
let proc: string;
let made = 0;
beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "vireo-proc-"));
});
afterEach(() => rmSync(proc, { recursive: true }));

const SWAPS = `Filename				Type		Size		Used		Priority
/dev/dm-1                               partition	4194304		1048576		-2
/dev/zram0                              partition	8388608		0		100
/swap\\040file                           file		1048576		0		-3
`;
const has = (availableGiB: number, swaps = SWAPS) => {
  const kB = availableGiB * 2 ** 20;
  writeFileSync(
    join(proc, "meminfo"),
    `MemTotal:       65536000 kB\nMemFree:          100000 kB\nMemAvailable:   ${kB} kB\n`,
  );
  writeFileSync(join(proc, "swaps"), swaps);
};
const host = (memory?: number) => ({
  metadata: { name: "a" },
  spec: memory === undefined ? {} : { overcommit: { memory } },
});
const machine = (memory: string, more: Partial<Instance["spec"]> = {}, pid?: number): Instance => {
  const name = `m${made++}`;
  return {
    apiVersion: "vireo.dev/v1",
    kind: "Instance",
    metadata: { name, namespace: "default", uid: `uid-${name}` },
    spec: {
      vm: name,
      vmUid: `vm-${name}`,
      cpus: 1,
      memory,
      image: "i",
      storagePool: "p",
      interfaces: [],
      running: true,
      host: "a",
      ...more,
    },
    status: { custody: "Held", ...(pid === undefined ? {} : { pid }) },
  };
};
/** As one of QEMU's processes has it: what is its own, and a part of that in swap; and what there is of its guest's memory where that is a file (swap and all). */
function runs(pid: number, kB: { anon?: number; swapped?: number; file?: number; merged?: number }): void {
  const { anon = 0, swapped = 0, file, merged = 0 } = kB;
  const own = join(proc, String(pid));
  mkdirSync(join(own, "fd"), { recursive: true });
  // A template's memory is in RssShmem, too.
  const status = [
    ["VmSize", 9437184],
    ["VmRSS", anon + 1020000],
    ["RssAnon", anon],
    ["RssFile", 20000],
    ["RssShmem", 1000000],
    ["VmSwap", swapped],
  ];
  writeFileSync(
    join(own, "status"),
    `Name:\tqemu-system-x86\n${status.map(([field, size]) => `${field}:\t ${size} kB\n`).join("")}`,
  );
  writeFileSync(join(own, "ksm_merging_pages"), `${merged / 4}\n`);
  symlinkSync("/memfd:vireo-template (deleted)", join(own, "fd", "3"));
  if (file === undefined) return;
  for (const fd of ["9", "11"]) symlinkSync("/memfd:memory-backend-memfd (deleted)", join(own, "fd", fd));
  inFile = file * 1024;
}
let inFile = 0;
const left = () => new MemoryLeft(proc, () => ({ file: "1 2", bytes: inFile }));
const memoryLack = (of: ReturnType<typeof host> | undefined, what: Instance, others: Instance[] = []) =>
  left().lack(of, what, others);

it("counts swap on disks, and not what is compressed in memory", () => {
  expect(readSwap(proc)).toEqual({ totalBytes: 0, freeBytes: 0 });
  has(1);
  expect(readSwap(proc)).toEqual({ totalBytes: 5 * GiB, freeBytes: 4 * GiB });
});

it("a machine starts when all of its memory would be somewhere", () => {
  has(3);
  expect(memoryLack(host(1.5), machine("7Gi"))).toBeUndefined();
  expect(memoryLack(host(1.5), machine("8Gi"))).toMatch(
    /^host a has 7Gi of memory and swap left, the machine may take 8Gi: .*spec\.overcommit\.memory: 1\.5/,
  );
  // Somebody has switched it off since.
  has(3, "Filename Type Size Used Priority\n");
  expect(memoryLack(host(1.5), machine("7Gi"))).toMatch(/^host a has 3Gi/);
  // It has its memory already.
  expect(memoryLack(host(1.5), machine("8Gi", { resources: { hugepages: "2Mi" } }))).toBeUndefined();
});

it("of a host that gives out no more than it has nothing is asked", () => {
  has(0);
  for (const share of [undefined, 0.9, 1]) expect(memoryLack(host(share), machine("64Gi"))).toBeUndefined();
  expect(memoryLack(undefined, machine("64Gi"))).toBeUndefined();
});

it("memory that the others there were promised and have not touched yet is not free", () => {
  has(3);
  // 7Gi are left. Of its 4Gi it has 2Gi, a half of that in swap.
  runs(100, { anon: GiB_IN_KB, swapped: GiB_IN_KB });
  const half = machine("4Gi", {}, 100);
  expect(memoryLack(host(1.5), machine("5Gi"), [half])).toBeUndefined();
  expect(memoryLack(host(1.5), machine("6Gi"), [half])).toMatch(
    /^host a has 7Gi of memory and swap left, the others there may still take 2Gi, the machine may take 6Gi: /,
  );
  // Its guest's memory is a file.
  runs(101, { file: 3 * GiB_IN_KB });
  expect(memoryLack(host(1.5), machine("6Gi"), [machine("4Gi", {}, 101)])).toBeUndefined();
  expect(memoryLack(host(1.5), machine("5Gi"), [half, machine("4Gi", {}, 101)])).toMatch(/take 3Gi/);
  // What is merged is one's own again at any moment.
  runs(102, { anon: 4 * GiB_IN_KB, merged: GiB_IN_KB });
  expect(memoryLack(host(1.5), machine("6Gi"), [machine("4Gi", {}, 102)])).toBeUndefined();
  expect(memoryLack(host(1.5), machine("7Gi"), [machine("4Gi", {}, 102)])).toMatch(/still take 1Gi/);
  // It may have more than it is to have by now.
  const memory = { begun: "1Gi", modules: ["2Gi"], most: "4Gi" };
  const has3: Instance = {
    ...half,
    spec: { ...half.spec, memory: "1Gi" },
    status: { ...half.status, has: { memory, ports: 0, disks: [], interfaces: [] } },
  };
  expect(memoryLack(host(1.5), machine("7Gi"), [has3])).toMatch(/still take 1Gi/);
  // Huge pages it has from the beginning.
  const huge = machine("4Gi", { resources: { hugepages: "2Mi" } }, 100);
  expect(memoryLack(host(1.5), machine("7Gi"), [huge])).toBeUndefined();
  // One that has ended, or waits as this one does, takes nothing.
  const released = { ...half, status: { custody: "Released" as const, pid: 100 } };
  for (const other of [released, machine("4Gi", {}, 999), machine("4Gi")])
    expect(memoryLack(host(1.5), machine("7Gi"), [other])).toBeUndefined();
});

describe("a machine that runs", () => {
  /** With 1Gi, a half of it touched. */
  let pid = 1000;
  const growing = (spec: Partial<Instance["spec"]> & { memory: string }) => {
    pid++;
    runs(pid, { anon: GiB_IN_KB / 2 });
    const { memory, ...more } = spec;
    const one = machine(memory, more, pid);
    const has = { memory: { begun: "1Gi", modules: [], most: "8Gi" }, ports: 0, disks: [], interfaces: [] };
    return { ...one, status: { ...one.status, has } };
  };
  const lackToGrow = (of: ReturnType<typeof host> | undefined, what: Instance, others: Instance[] = []) =>
    left().lackToGrow(of, what, [what, ...others]);

  it("gets more when all that it may use then would be somewhere, beside what the others may", () => {
    has(1, "Filename Type Size Used Priority\n");
    expect(lackToGrow(host(1.5), growing({ memory: "1536Mi" }))).toEqual({});
    const short = lackToGrow(host(1.5), growing({ memory: "2Gi" }));
    expect(short).toEqual({
      memory: expect.stringMatching(
        /^host a has 1Gi of memory and swap left, the machine may take 1536Mi: .*spec\.overcommit\.memory: 1\.5\); it gets more when/,
      ),
    });
    runs(200, { anon: GiB_IN_KB });
    const other = machine("1280Mi", {}, 200);
    expect(lackToGrow(host(1.5), growing({ memory: "1536Mi" }), [other]).memory).toMatch(
      /the others there may still take 256Mi, the machine may take 1Gi:/,
    );
    for (const where of [host(), host(1), undefined])
      expect(lackToGrow(where, growing({ memory: "64Gi" }))).toEqual({});
    expect(lackToGrow(host(1.5), growing({ memory: "64Gi", resources: { hugepages: "2Mi" } }))).toEqual({});
  });

  it("gets back what its balloon has in the same way, and less is always possible", () => {
    has(0.25, "Filename Type Size Used Priority\n");
    const back = (spec: Partial<Instance["spec"]>) =>
      lackToGrow(host(1.5), growing({ memory: "1Gi", ...spec }));
    expect(back({ memoryTarget: "768Mi" })).toEqual({});
    expect(back({ memoryTarget: "800Mi" })).toEqual({
      memoryTarget: expect.stringMatching(/may take 288Mi/),
    });
    // All of it.
    expect(back({})).toEqual({ memoryTarget: expect.stringMatching(/has 256Mi .* may take 512Mi/) });
    // What it is not to have it does not get back either, and is told of what it could.
    expect(back({ memory: "4Gi" })).toMatchObject({
      memory: expect.stringMatching(/may take 3584Mi/),
      memoryTarget: expect.stringMatching(/may take 512Mi/),
    });
  });

  it("is not in the way of another while it waits, and is while it grows", () => {
    has(1, "Filename Type Size Used Priority\n");
    const agent = left();
    const [one, two] = [growing({ memory: "1536Mi" }), growing({ memory: "1536Mi" })];
    const asked = (which: Instance, all = [one, two]) => agent.lackToGrow(host(1.5), which, all);
    has(1.5, "Filename Type Size Used Priority\n");
    expect(asked(one)).toEqual({});
    expect(asked(two).memory).toMatch(/the others there may still take 1Gi, the machine may take 1Gi/);
    expect(asked(one)).toEqual({});
    // It is not to grow any more.
    const content = { ...one, spec: { ...one.spec, memory: "1Gi" } };
    expect(asked(content, [content, two])).toEqual({});
    expect(asked(two, [content, two])).toEqual({});
    expect(agent.lack(host(1.5), machine("512Mi"), [content, two])).toMatch(/still take 1536Mi/);
    agent.letGo(two);
    expect(agent.lack(host(1.5), machine("512Mi"), [content, two])).toBeUndefined();
  });
});

it("two that start at the same moment are not told of the same memory", () => {
  has(3);
  const both = left();
  const [first, second] = [machine("4Gi"), machine("4Gi")];
  // Whether or not the agent has seen them in the API.
  const asked = (which: Instance, seen: Instance[] = []) => both.lack(host(1.5), which, seen);
  expect(asked(first)).toBeUndefined();
  expect(asked(second)).toMatch(/the others there may still take 4Gi/);
  expect(asked(second, [first, second])).toMatch(/the others there may still take 4Gi/);
  // It is asked again, and one that waits is not in its way.
  expect(asked(first, [first, second])).toBeUndefined();
  // Its process is there, and has taken a part.
  runs(102, { file: 3 * GiB_IN_KB });
  const running = { ...first, status: { custody: "Held" as const, pid: 102 } };
  expect(asked(second, [running, second])).toBeUndefined();
  both.letGo(second);
  both.letGo(first);
  expect(asked(machine("7Gi"))).toBeUndefined();
});
