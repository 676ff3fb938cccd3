import { describe, expect, it } from "vitest";
import type { Instance, VirtualMachine } from "../kinds.ts";
import { portsFor } from "./kinds.ts";
import { placed, placedDisks, placedInterfaces } from "./places.ts";
import { livePlan, tell } from "./plan.ts";

type Spec = VirtualMachine["spec"];
const NIC = { network: "default", mac: "52:54:00:00:00:01", address: "10.0.0.3", port: 0 };

const machine = (spec: Partial<Spec> = {}, status: VirtualMachine["status"] = {}): VirtualMachine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name: "web", namespace: "default", uid: "u" },
  spec: {
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    networks: ["default"],
    restart: "Always",
    ...spec,
  },
  status: { interfaces: [NIC], ...status },
});
/** Runs as the machine was. */
function runOf(vm: VirtualMachine, more: Partial<NonNullable<Instance["status"]>> = {}): Instance {
  const { running: _r, networks: _n, restart: _s, disks: _d, ...part } = vm.spec;
  const interfaces = vm.status?.interfaces ?? [];
  const disks = placedDisks(vm);
  const spec = { ...part, disks, interfaces, vm: "web", vmUid: "u", running: true };
  return {
    apiVersion: "vireo.dev/v1",
    kind: "Instance",
    metadata: { name: "web-1", namespace: "default", uid: "i" },
    spec,
    status: { custody: "Held", phase: "Running", has: { ports: 8, disks, interfaces }, ...more },
  };
}
/** The machine by now, with the places that the reconciler gives. */
function later(before: VirtualMachine, spec: Partial<Spec>, nics = before.status?.interfaces ?? []) {
  const vm = { ...before, spec: { ...before.spec, ...spec } };
  return { ...vm, status: { ...before.status, ...placed(vm, nics) } };
}
const told = (vm: VirtualMachine, run: Instance) => livePlan(vm, run).pending.map(tell);

describe("places", () => {
  it("are the lowest free ones, kept for as long as a disk or network is the machine's", () => {
    const two = [
      { name: "a", size: "1Gi" },
      { name: "b", size: "1Gi" },
    ];
    const vm = later(machine(), { disks: two });
    expect(vm.status.disks).toEqual([
      { ...two[0], port: 1 },
      { ...two[1], port: 2 },
    ]);
    const second = { ...NIC, network: "lan", mac: "52:54:00:00:00:02" };
    const { port: _, ...unplaced } = second;
    const more = later(vm, { disks: two.slice(1), networks: ["default", "lan"] }, [NIC, unplaced]);
    expect(more.status.interfaces).toEqual([NIC, { ...second, port: 1 }]);
    // The one that left is kept, without a place.
    expect(more.status.disks).toEqual([{ ...two[1], port: 2 }, two[0]]);
    expect(later(more, { disks: two }).status.disks?.map(({ port }) => port)).toEqual([3, 2]);
  });

  it("are some more than a run needs when it begins, none where nothing can come", () => {
    const run = (port: number, hardware: Spec["hardware"] = {}) =>
      portsFor({ hardware, interfaces: [{ port }] });
    expect([run(0), run(5), run(6)]).toEqual([8, 8, 16]);
    expect(portsFor({ interfaces: [] })).toBe(8);
    expect(run(0, { board: "pc" })).toBe(0);
    expect(run(0, { disks: "sata", nics: "rtl8139" })).toBe(0);
  });
});

describe("what changes in a machine that runs", () => {
  const vm = later(machine(), { disks: [{ name: "data", size: "1Gi" }] });

  it("goes to the run: limits, growth, disks and networks that come or go", () => {
    expect(livePlan(vm, runOf(vm))).toEqual({ spec: runOf(vm).spec, pending: [] });
    const lan = { network: "lan", mac: "52:54:00:00:00:02", address: "10.1.0.3" };
    const changed = later(
      vm,
      {
        diskSize: "4Gi",
        diskLimits: { iops: 10 },
        disks: [
          { name: "data", size: "2Gi", limits: { iops: 5 } },
          { name: "new", size: "1Gi" },
        ],
        networks: ["lan"],
      },
      [lan],
    );
    const { spec, pending } = livePlan(changed, runOf(vm));
    expect(spec).toMatchObject({
      diskSize: "4Gi",
      diskLimits: { iops: 10 },
      disks: [
        { name: "data", size: "2Gi", limits: { iops: 5 }, port: 1 },
        { name: "new", port: 2 },
      ],
      interfaces: [{ network: "lan", port: 0 }],
    });
    // Told from the moment on in which it is asked for.
    expect(pending.map(({ field, restart }) => [field, restart])).toEqual([
      ["disks[new]", false],
      ["networks[lan]", false],
      ["networks[default]", false],
    ]);
    // The run has been asked, and has not got it yet.
    const asked: Instance = {
      ...runOf(vm, {
        refused: [{ field: "networks[default]", reason: "the guest has not let go of it yet" }],
      }),
      spec,
    };
    expect(told(changed, asked)).toEqual([
      'disks[new]: nothing → {"name":"new","size":"1Gi"} (is being attached)',
      "networks[lan]: nothing → lan (is being attached)",
      "networks[default]: default → nothing (the guest has not let go of it yet)",
    ]);
    expect(livePlan(changed, asked).pending.every(({ restart }) => !restart)).toBe(true);
  });

  it("limits of a network go to the run, change, and go again; no other network has them", () => {
    const lan = { ...NIC, network: "lan", mac: "52:54:00:00:00:02", port: 1 };
    const two = machine({ networks: ["default", "lan"] }, { interfaces: [NIC, lan] });
    const asked = (spec: Partial<Spec>, run: Instance) =>
      livePlan({ ...two, spec: { ...two.spec, ...spec } }, run).spec.interfaces;
    const limits = { receiveBytesPerSecond: "1Mi", sendBytesPerSecond: "2Mi" };
    const limited = asked({ networkLimits: [{ network: "lan", ...limits }] }, runOf(two));
    expect(limited).toEqual([NIC, { ...lan, limits }]);
    const run = runOf(two);
    const now = { ...run, spec: { ...run.spec, interfaces: limited } };
    const send = { sendBytesPerSecond: "1Gi" };
    expect(asked({ networkLimits: [{ network: "lan", ...send }] }, now)[1]?.limits).toEqual(send);
    expect(asked({}, now)).toEqual([NIC, lan]);
    // The next run begins with them.
    expect(
      placedInterfaces([NIC, lan], { ...two.spec, networkLimits: [{ network: "lan", ...send }] }),
    ).toEqual([NIC, { ...lan, limits: send }]);
  });

  it("what is in a drive goes to the run; drives and the boot order wait for the next", () => {
    const before = machine({ cdDrives: [{ name: "cd", image: "old" }] });
    const has = { ports: 8, disks: [], interfaces: [NIC], cdDrives: [{ name: "cd", image: "old" }] };
    const run = runOf(before, { has });
    expect(livePlan(before, run)).toMatchObject({ spec: { cdDrives: has.cdDrives }, pending: [] });
    const changed = {
      ...before,
      spec: {
        ...before.spec,
        cdDrives: [{ name: "cd", image: "new", force: true }, { name: "more" }],
        bootOrder: ["cd/cd"],
      },
    };
    const { spec, pending } = livePlan(changed, run);
    expect(spec.cdDrives).toEqual([{ name: "cd", image: "new", force: true }]);
    expect(spec.bootOrder).toBeUndefined();
    expect(pending.map(({ field, restart }) => [field, restart])).toEqual([
      ["cdDrives[more]", true],
      ["bootOrder", true],
      ["cdDrives[cd]", false],
    ]);
    const refused = [{ field: "cdDrives[cd]", reason: "the guest has locked the drive" }];
    const asked = { ...runOf(before, { has, refused }), spec };
    expect(told(changed, asked)).toContain("cdDrives[cd]: old → new (the guest has locked the drive)");
    const gone = { ...before, spec: { ...before.spec, cdDrives: [] } };
    expect(livePlan(gone, run).spec.cdDrives).toEqual(run.spec.cdDrives);
    expect(told(gone, run)).toEqual([expect.stringMatching(/^cdDrives\[cd\]: .* → nothing/)]);
  });

  it("waits for the next start where it cannot go, and says why", () => {
    const changed = later(vm, {
      cpus: 2,
      hardware: { video: "vga" },
      guest: { hostname: "other" },
      disks: [{ name: "data", size: "1Gi", readOnly: true }],
    });
    const { spec, pending } = livePlan(changed, runOf(vm));
    expect(spec).toEqual(runOf(vm).spec);
    expect(pending.map(({ field, restart }) => [field, restart])).toEqual([
      ["disks[data].readOnly", true],
      ["cpus", true],
      ["hardware", true],
      ["guest", true],
    ]);
    // Said or not, it is the same hardware.
    expect(told(later(vm, { hardware: { board: "q35" } }), runOf(vm))).toEqual([]);
  });

  it("waits where the run has no places: all are taken, another board, an older Vireo", () => {
    const many = Array.from({ length: 9 }, (_, i) => ({ name: `d${i}`, size: "1Gi" }));
    const full = later(vm, { disks: [{ name: "data", size: "1Gi" }, ...many] });
    expect(told(full, runOf(vm)).filter((text) => text.includes("all 8 places"))).toHaveLength(3);
    const old = later(machine({ hardware: { board: "pc" } }), { disks: [{ name: "data", size: "1Gi" }] });
    const less = later(old, { disks: [], networks: [] }, []);
    expect(told(less, runOf(old, { has: { ports: 0, disks: placedDisks(old), interfaces: [NIC] } }))).toEqual(
      [
        expect.stringContaining("with the board pc and disks of virtio none come or go while it runs"),
        expect.stringContaining("networks[default]: default → nothing (with the board pc"),
      ],
    );
    const { has: _, ...unsaid } = runOf(vm).status ?? {};
    expect(told(later(vm, { disks: [] }), { ...runOf(vm), status: unsaid })[0]).toContain("older Vireo");
  });

  it("CPUs and memory come within the room that the run began with; what it began with stays", () => {
    const roomy = machine({ cpus: 2, memory: "256Mi", maxCpus: 4, maxMemory: "1Gi" });
    const has = {
      ports: 8,
      disks: [],
      interfaces: [NIC],
      cpus: { begun: 2, now: 2, most: 4 },
      memory: { begun: "256Mi", modules: [], most: "1Gi" },
    };
    const run = runOf(roomy, { has, accelerator: "tcg" });
    const more = { ...roomy, spec: { ...roomy.spec, cpus: 3, memory: "512Mi", memoryTarget: "300Mi" } };
    const { spec, pending } = livePlan(more, run);
    const fields = pending.map(({ field }) => field);
    expect([spec.cpus, spec.memory, spec.memoryTarget, fields]).toEqual([
      3,
      "512Mi",
      "300Mi",
      ["cpus", "memory"],
    ]);
    expect(told(more, { ...run, spec })).toEqual([
      "cpus: 2 → 3 (is being tried)",
      "memory: 256Mi → 512Mi (is being tried)",
    ]);
    const refused = [
      { field: "memory", reason: "host a has 1Mi left" },
      { field: "memoryTarget", reason: "host a has 2Mi left" },
    ];
    const asked = { ...run, spec, status: { ...run.status, refused } };
    expect(told(more, asked).slice(1)).toEqual([
      "memory: 256Mi → 512Mi (host a has 1Mi left)",
      "memoryTarget: nothing → 300Mi (host a has 2Mi left)",
    ]);
    const lacking = livePlan(more, run, { cpus: "host a has 0Mi free", memory: "host a has 0Mi free" });
    expect([lacking.spec.cpus, lacking.spec.memory]).toEqual([2, "256Mi"]);
    expect(lacking.pending.map(({ restart, reason }) => [restart, reason])).toEqual([
      [false, "host a has 0Mi free"],
      [false, "host a has 0Mi free"],
    ]);
    const as = (change: Partial<Spec>, from = run) =>
      told({ ...roomy, spec: { ...roomy.spec, ...change } }, from)[0];
    expect(as({ cpus: 1 })).toBe("cpus: 2 → 1 (the 2 that it began with stay)");
    expect(as({ cpus: 5 })).toContain("the run has room for 4 (spec.maxCpus when it began)");
    expect(as({ memory: "2Gi" })).toContain("the run has room for 1Gi");
    expect(as({ memory: "128Mi" })).toContain("the 256Mi that it began with stay");
    expect(as({ memory: "300Mi" })).toContain("memory comes in steps of 128Mi while it runs");
    const grown = {
      ...run,
      spec: { ...run.spec, cpus: 3 },
      status: { ...run.status, has: { ...has, cpus: { ...has.cpus, now: 3 } } },
    };
    expect(as({ cpus: 2 }, grown)).toContain("emulated CPUs (tcg) come while it runs, and do not go");
  });

  it("a network that does not exist is waited for", () => {
    const { pending } = livePlan(later(vm, { networks: ["default", "none"] }), runOf(vm));
    expect(pending).toMatchObject([{ field: "networks[none]", restart: false }]);
  });

  it("what has its place by its order keeps that: what goes, comes back or is to be elsewhere waits for the next start", () => {
    const disks = ["data", "logs"].map((name) => ({ name, size: "1Gi" }));
    const { port: _, ...nic } = NIC;
    const interfaces = ["lan", "dmz"].map((network, i) => ({ ...nic, network, mac: `52:54:00:00:00:1${i}` }));
    const networks = ["lan", "dmz"];
    const before = machine({ hardware: { board: "pc" }, disks, networks }, { interfaces });
    const has = { ports: 0, disks: placedDisks(before), interfaces };
    const run = runOf(before, { has });
    const asked = (change: Partial<Spec>, of = run) => {
      const { spec, pending } = livePlan({ ...before, spec: { ...before.spec, ...change } }, of);
      return {
        disks: spec.disks?.map(({ name }) => name),
        networks: spec.interfaces.map(({ network }) => network),
        pending: pending.map(({ field, from, to }) => `${field}: ${from} → ${to}`),
      };
    };
    const own = { disks: ["data", "logs"], networks };
    expect(asked({ disks: disks.slice(1), networks: ["dmz"] })).toEqual({
      ...own,
      pending: ['disks[data]: {"name":"data","size":"1Gi"} → undefined', "networks[lan]: lan → undefined"],
    });
    const turned = { disks: disks.toReversed(), networks: networks.toReversed() };
    const orders = { ...own, pending: ["disks: data, logs → logs, data", "networks: lan, dmz → dmz, lan"] };
    expect(asked(turned)).toEqual(orders);
    expect(asked({}).pending).toEqual([]);
    // A control plane of before has turned them round: the run has them as it began all the same.
    const misled = {
      ...run,
      spec: { ...run.spec, disks: run.spec.disks?.toReversed() ?? [], interfaces: interfaces.toReversed() },
    };
    expect(asked({}, misled)).toEqual({ ...own, pending: [] });
    expect(asked(turned, misled)).toEqual(orders);
  });

  it("the order of what has a port is nobody's concern", () => {
    const two = later(machine(), { disks: ["a", "b"].map((name) => ({ name, size: "1Gi" })) });
    const turned = { ...two, spec: { ...two.spec, disks: two.spec.disks?.toReversed() ?? [] } };
    expect(livePlan(turned, runOf(two))).toEqual({ spec: runOf(two).spec, pending: [] });
  });
});
