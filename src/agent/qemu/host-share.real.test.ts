/** CPUs, huge pages and a NUMA node of a machine's own, limits of memory and the order of ends, on a real QEMU and this kernel. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { Resources } from "../../compute/resources/kinds.ts";
import { run } from "../../system/run.ts";
import type { MachineConfig, MachineState } from "../hypervisor.ts";
import { heldBy } from "../memory-left.ts";
import { moveLive, RealMachines } from "../testing/real-machines.ts";
import { memoryLimitOf, oomScoreOf } from "./host-share.ts";
import { dedicatable, formatList, readTopology } from "./topology.ts";

const machines = new RealMachines();
const topology = readTopology();
const own = dedicatable(topology);
const all = formatList(topology.cores.flat());

const machine = (resources: Resources, more: Partial<MachineConfig> = {}) =>
  machines.machine("busy", { resources, ...more });
const allowed = (pid: number, which: (name: string) => boolean) =>
  readdirSync(`/proc/${pid}/task`)
    .filter((thread) => which(readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8")))
    .map((thread) => {
      const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
      return /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1];
    });
const isVcpu = (name: string) => name.startsWith("CPU ");

// The machine that tests this has to have a second core.
describe.skipIf(own.length === 0)("CPUs of its own", () => {
  const rest = formatList(topology.cores.flat().filter((cpu) => !own.includes(cpu)));
  const cpus = own.length;

  it("are no others', also for an agent that was started anew, and come back at the end", async () => {
    const host = machines.hypervisor("a");
    const before = await machines.start(host, machine({}));
    expect(new Set(allowed(before.pid, () => true))).toEqual(new Set([all]));
    const dedicated = machine({ dedicatedCpus: true }, { cpus });
    const { pid, place } = await machines.start(host, dedicated);
    expect(place?.cpus).toEqual(expect.arrayContaining(own));
    expect(allowed(pid, isVcpu).sort()).toEqual(own.map(String).sort());
    expect(new Set(allowed(pid, (name) => !isVcpu(name)))).toEqual(new Set([rest]));
    expect(new Set(allowed(before.pid, () => true))).toEqual(new Set([rest]));
    // Nothing is kept in memory.
    host.close();
    const anew = machines.hypervisor("a");
    await expect(machines.start(anew, machine({ dedicatedCpus: true }))).rejects.toThrow(
      /its host has 0 of \d+ CPUs left to give to one machine alone/,
    );
    const after = await machines.start(anew, machine({}));
    expect(new Set(allowed(after.pid, () => true))).toEqual(new Set([rest]));
    expect((await anew.get(dedicated.id))?.place).toEqual(place);
    await anew.kill(dedicated.id);
    expect(new Set(allowed(after.pid, () => true))).toEqual(new Set([all]));
    expect(new Set(allowed(before.pid, () => true))).toEqual(new Set([all]));
    await machines.start(anew, machine({ dedicatedCpus: true }));
  }, 60_000);

  it("are taken again by an agent that was killed before it pinned them", async () => {
    const host = machines.hypervisor("a");
    const config = machine({ dedicatedCpus: true }, { cpus });
    const { pid } = await machines.start(host, config);
    await run("taskset", ["-a", "-c", "-p", all, `${pid}`]);
    host.close();
    const anew = machines.hypervisor("a");
    expect(await anew.share(config.id, config.resources ?? {})).toBeUndefined();
    expect(allowed(pid, isVcpu).sort()).toEqual(own.map(String).sort());
  });
});

describe("one NUMA node", () => {
  it.skipIf(!existsSync("/proc/self/numa_maps"))("has all of its memory, from the start on", async () => {
    const host = machines.hypervisor("a");
    const config = machine({ singleNumaNode: true });
    const { pid, place } = await machines.start(host, config);
    expect(place).toEqual({ node: 0, bound: true });
    const maps = readFileSync(`/proc/${pid}/numa_maps`, "utf8").split("\n");
    const ram = maps.find((line) => line.includes("memory-backend-memfd"));
    expect(ram).toMatch(/ bind:0 /);
    // All of 64 MiB.
    expect(Number(/N0=(\d+)/.exec(ram ?? "")?.[1])).toBe(2 ** 14);
    // So it takes no more of what is left.
    expect(heldBy(pid)).toBeGreaterThanOrEqual(2 ** 26);
  });
});

describe("huge pages", () => {
  const POOL = "/proc/sys/vm/nr_hugepages";
  const free = () => Number(/HugePages_Free:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]);
  const before = readFileSync(POOL, "utf8").trim();
  const setAside = (count: number): boolean => {
    try {
      writeFileSync(POOL, `${count}`);
    } catch {
      return false;
    }
    return free() >= count;
  };
  afterEach(() => {
    try {
      writeFileSync(POOL, before);
    } catch {
      // Not root: then nothing was changed.
    }
  });

  it("make up its memory; without enough of them it does not start, and says so", async ({ skip }) => {
    const host = machines.hypervisor("a");
    const config = machine({ hugepages: "2Mi" });
    await expect(machines.start(host, config)).rejects.toThrow(/no huge pages of 2Mi.*vm\.nr_hugepages=32/);
    skip(!setAside(48), "this kernel sets no huge pages aside");
    const { pid } = await machines.start(host, config);
    expect(free()).toBe(16);
    expect(readFileSync(`/proc/${pid}/smaps`, "utf8")).toMatch(/KernelPageSize: +2048 kB/);
    await expect(machines.start(host, machine({ hugepages: "2Mi" }))).rejects.toThrow(
      /has 32Mi of 96Mi in huge pages of 2Mi left, the machine needs 64Mi/,
    );
    // It moves like others.
    const target = machines.hypervisor("b");
    writeFileSync(POOL, "80");
    const there = { ...config, id: machine({}).id };
    await machines.start(target, there, "incoming");
    await moveLive(host, config.id, target, there.id);
    await host.kill(config.id);
    await target.kill(there.id);
    expect(free()).toBe(80);
  }, 60_000);
});

describe("when memory runs out", () => {
  const scoreOf = ({ pid }: MachineState) => Number(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8"));

  it.skipIf(process.getuid?.() !== 0)("each has its place in the order, and a limit of its own", async () => {
    const host = machines.hypervisor("a");
    const config = machine({ oomOrder: "last" });
    const state = await machines.start(host, config);
    expect(scoreOf(state)).toBe(oomScoreOf("last", config.memory));
    await host.share(config.id, { oomOrder: "first" });
    expect(scoreOf(state)).toBe(oomScoreOf("first", config.memory));
    const name = config.id.replaceAll("-", "").slice(0, 12);
    const files = [
      `/sys/fs/cgroup/vireo/${name}/memory.max`,
      `/sys/fs/cgroup/memory/vireo/${name}/memory.limit_in_bytes`,
    ];
    const limits = files.filter((file) => existsSync(file)).map((file) => Number(readFileSync(file, "utf8")));
    // Whole pages of what we asked for.
    expect(limits.map((limit) => Math.ceil(limit / 2 ** 20))).toEqual([memoryLimitOf(config) / 2 ** 20]);
  });

  it("the order is that of the wish, whatever the sizes", () => {
    const [GiB, host] = [2 ** 30, 64 * 2 ** 30];
    const points = (order: "first" | "normal" | "last", memory: number) =>
      oomScoreOf(order, memory, host) + Math.round((1000 * memory) / host);
    expect(points("last", 40 * GiB)).toBeLessThan(points("normal", GiB));
    expect(points("normal", 30 * GiB)).toBeLessThan(points("first", GiB));
    expect(oomScoreOf("last", 64 * GiB, host)).toBeGreaterThan(-900);
  });
});
