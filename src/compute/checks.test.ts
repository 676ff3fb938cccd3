import { describe, expect, it } from "vitest";
import { INVALID } from "../resource/invalid.ts";
import type { Kind, Lookup } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { checkRules } from "../resource/rules.ts";
import { checkInstance, checkNetwork, checkVirtualMachine as checkOfMachines } from "./checks.ts";
import type { Host } from "./hosts/kinds.ts";
import { type Instance, VirtualMachine } from "./kinds.ts";
import { Migration } from "./migrations/kinds.ts";
import { Network } from "./networks/kinds.ts";
import { openControlPlane } from "./testing/control-plane.ts";

/** The kind's own rules and those in its schema, as the server asks them. */
const checkVirtualMachine = (object: VirtualMachine, old: VirtualMachine | undefined, lookup: Lookup) => [
  ...checkOfMachines(object, old, lookup),
  ...checkRules(object, old, VirtualMachine.schema),
];

function look(...objects: Resource[]): Lookup {
  return {
    list: <T extends Resource>(kind: Kind<T>) => objects.filter((o) => o.kind === kind.kind) as T[],
  };
}

const vm = (
  name: string,
  spec: Partial<VirtualMachine["spec"]> = {},
  status?: VirtualMachine["status"],
): VirtualMachine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name, namespace: "default", uid: `uid-${name}` },
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
  ...(status ? { status } : {}),
});

const instance = (
  name: string,
  spec: Partial<Instance["spec"]> = {},
  status?: Instance["status"],
): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: { name, namespace: "default", uid: `uid-${name}` },
  spec: {
    vm: "web",
    vmUid: "uid-web",
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    interfaces: [],
    running: true,
    ...spec,
  },
  ...(status ? { status } : {}),
});

const said = (causes: { field: string; message: string }[]) => causes.map((c) => `${c.field}: ${c.message}`);

describe("checkVirtualMachine", () => {
  it("accepts a machine whose image and networks are still to come", () => {
    expect(checkVirtualMachine(vm("web"), undefined, look())).toEqual([]);
  });

  it("refuses names that make no host name, two probes", () => {
    const odd = vm("a".repeat(53), {
      readiness: { http: { port: 80 }, tcp: { port: 80 } },
    });
    const causes = said(checkVirtualMachine(odd, undefined, look()));
    expect(causes[0]).toMatch(/^metadata.name: .*label of at most 52/);
    expect(causes[1]).toMatch(/^spec.readiness.tcp: Forbidden/);
    expect(said(checkVirtualMachine(vm("web.prod"), undefined, look()))).toHaveLength(1);
  });

  it("keeps image and pool once the disks are made; disks never shrink", () => {
    const old = vm("web", { diskSize: "2Gi" }, { sequence: 1 });
    const change = (spec: Partial<VirtualMachine["spec"]>, status = old.status) =>
      said(checkVirtualMachine(vm("web", { diskSize: "2Gi", ...spec }, status), old, look()));
    expect(change({ image: "db" })[0]).toMatch(/^spec.image: Invalid value: "db": field is immutable/);
    expect(change({ image: "db" }, {})).toEqual([]);
    expect(change({ storagePool: "other" })).toHaveLength(1);
    expect(change({ networks: ["b"] })).toEqual([]);
    expect(change({ diskSize: "1Gi" })[0]).toContain("cannot shrink; it has 2Gi");
    expect(change({ diskSize: "3Gi", cpus: 2, memory: "1Gi" })).toEqual([]);
  });

  it("what a guest is told at its first boot alone cannot be told later; its host name can", () => {
    const guest = { hostname: "a", sshAuthorizedKeys: ["ssh-ed25519 A"] };
    const old = vm("web", { guest }, { sequence: 1 });
    const change = (now: VirtualMachine["spec"]["guest"], sequence = 1) =>
      said(checkVirtualMachine(vm("web", now ? { guest: now } : {}, { sequence }), old, look()));
    expect(change({ ...guest, hostname: "b" })).toEqual([]);
    const why = /^spec\.guest\.sshAuthorizedKeys: .*at its first boot alone; change it in the guest/;
    expect(change({ ...guest, sshAuthorizedKeys: ["ssh-ed25519 B"] })[0]).toMatch(why);
    expect(change(undefined)[0]).toMatch(why);
    expect(change({ ...guest, userData: "#cloud-config" })[0]).toMatch(/^spec\.guest\.userData: /);
    expect(change(undefined, 0)).toEqual([]);
  });

  it("data disks may grow, never shrink, and stay what they were made from", () => {
    const disks = [{ name: "logs", size: "2Gi", image: "files" }];
    const old = vm("web", { disks }, { sequence: 1 });
    const change = (...disks: NonNullable<VirtualMachine["spec"]["disks"]>) =>
      said(checkVirtualMachine(vm("web", { disks }, { sequence: 1 }), old, look()));
    expect(change({ name: "logs", size: "3Gi", image: "files" }, { name: "more", size: "1Gi" })).toEqual([]);
    expect(change()).toEqual([]);
    expect(change({ name: "logs", size: "1Gi", image: "files" })[0]).toContain(
      'spec.disks[0].size: Invalid value: "1Gi": a disk cannot shrink; it has 2Gi',
    );
    expect(change({ name: "logs", size: "2Gi" })[0]).toContain("give another one another name");
    expect(change({ name: "empty" })[0]).toContain("an empty disk needs a size");
    const many = Array.from({ length: 5 }, (_, i) => ({ name: `d${i}`, size: "1Gi" }));
    const sata = vm("web", { disks: many, hardware: { disks: "sata" } });
    expect(said(checkVirtualMachine(sata, undefined, look()))[0]).toContain("has room for 4 of them");
  });

  it("refuses hardware that goes not together", () => {
    const check = (hardware: VirtualMachine["spec"]["hardware"]) =>
      said(checkVirtualMachine(vm("web", hardware ? { hardware } : {}), undefined, look()));
    expect(check({ firmware: "uefi", secureBoot: true })).toEqual([]);
    expect(check({ secureBoot: true })[0]).toMatch(/^spec.hardware.secureBoot: .*set spec.hardware.firmware/);
    expect(check({ architecture: "aarch64", cpu: "max" })).toEqual([]);
    expect(check({ board: "isapc" })).toEqual([]);
    const odd = [
      [{ architecture: "aarch64", board: "q35" }, /^spec.hardware.board: .*is a board of x86_64; aarch64/],
      [{ board: "q35", disks: "ide" }, /^spec.hardware.disks: .*the board q35 has virtio, sata/],
      [{ board: "isapc", nics: "virtio" }, /^spec.hardware.nics: .*the board isapc has ne2k/],
      [{ disks: "sata", ioThread: true }, /^spec.hardware.ioThread: .*for disks of virtio; these are sata/],
      [{ board: "isapc", tpm: true }, /^spec.hardware.tpm/],
      [{ board: "virt", firmware: "bios" }, /^spec.hardware.firmware/],
      [{ board: "pc", machineType: "pc-q35-7.2" }, /^spec.hardware.machineType: .*none of the board pc/],
    ] as const;
    for (const [hardware, why] of odd) expect(check(hardware)[0]).toMatch(why);
    const two = checkVirtualMachine(vm("web", { cpus: 2, hardware: { board: "isapc" } }), undefined, look());
    expect(said(two)[0]).toMatch(/^spec.cpus: .*isapc has one CPU/);
  });

  it("refuses what the board isapc would not notice", () => {
    const check = (spec: Partial<VirtualMachine["spec"]>) =>
      said(checkVirtualMachine(vm("web", { hardware: { board: "isapc" }, ...spec }), undefined, look()));
    expect(check({ onPanic: { action: "Stop" } })[0]).toMatch(/^spec\.onPanic: .*pvpanic/);
    expect(check({ memoryTarget: "32Mi" })[0]).toMatch(/^spec\.memoryTarget: .*no balloon/);
    expect(check({ maxCpus: 2, maxMemory: "1Gi" }).map((text) => text.split(":")[0])).toEqual([
      "spec.maxCpus",
      "spec.maxMemory",
    ]);
  });

  it("refuses limits of networks that it is not on, and those that say nothing", () => {
    const limit = { network: "default", sendBytesPerSecond: "1Mi" };
    const check = (limits: VirtualMachine["spec"]["networkLimits"] = []) =>
      said(checkVirtualMachine(vm("web", { networkLimits: limits }), undefined, look()));
    expect(check([limit])).toEqual([]);
    expect(check([limit, { ...limit, network: "lan" }])).toEqual([
      'spec.networkLimits[1].network: Invalid value: "lan": is none of spec.networks; take the limit away, too',
    ]);
    expect(check([{ network: "default" }])[0]).toMatch(
      /^spec\.networkLimits\[0\]\.sendBytesPerSecond: .*no limit/,
    );
  });

  it("refuses a boot order of what it does not have, or that nobody follows, and drives without a place", () => {
    const check = (spec: Partial<VirtualMachine["spec"]>) =>
      said(checkVirtualMachine(vm("web", spec), undefined, look()));
    const disks = [{ name: "data", size: "1Gi" }];
    const cdDrives = [{ name: "cd" }, { name: "drivers" }];
    const bootOrder = ["cd/cd", "disk", "disk/data", "network/default"];
    expect(check({ disks, cdDrives, bootOrder })).toEqual([]);
    expect(check({ bootOrder: ["disk/data", "cd/cd", "network/lan"] })).toEqual([
      'spec.bootOrder[0]: Invalid value: "disk/data": spec.disks has no data',
      'spec.bootOrder[1]: Invalid value: "cd/cd": spec.cdDrives has no cd',
      'spec.bootOrder[2]: Invalid value: "network/lan": spec.networks has no lan',
    ]);
    expect(check({ hardware: { board: "isapc" }, bootOrder: ["disk"] })[0]).toMatch(/isapc knows no order/);
    const four = ["a", "b", "c", "d"].map((name) => ({ name, size: "1Gi" }));
    const sata = { hardware: { disks: "sata" }, disks: four } as const;
    expect(check({ ...sata, cdDrives: cdDrives.slice(1) })).toEqual([]);
    expect(check({ ...sata, cdDrives })[0]).toContain(
      "room for 3 of them beside the system disk and its CD drives",
    );
  });

  it("never lets two machines have one address", () => {
    const interfaces = [{ network: "default", mac: "52:54:00:00:00:01", address: "10.0.0.3" }];
    const other = vm("db", {}, { interfaces });
    const mine = [{ network: "default", mac: "52:54:00:00:00:02", address: "10.0.0.3" }];
    const causes = checkVirtualMachine(vm("web", {}, { interfaces: mine }), vm("web"), look(other));
    expect(said(causes)).toEqual([
      'status.interfaces[0]: Invalid value: "10.0.0.3": machine db has this address',
    ]);
    const elsewhere = mine.map((i) => ({ ...i, network: "other" }));
    expect(checkVirtualMachine(vm("web", {}, { interfaces: elsewhere }), vm("web"), look(other))).toEqual([]);
  });
});

describe("checkInstance", () => {
  const web = vm("web", {}, { sequence: 3 });

  it("creates only the newest number of a machine that is there and stays", () => {
    expect(checkInstance(instance("web-3"), undefined, look(web))).toEqual([]);
    expect(said(checkInstance(instance("web-2"), undefined, look(web)))[0]).toContain("is called web-3");
    expect(said(checkInstance(instance("web-3", { vmUid: "older" }), undefined, look(web)))).toHaveLength(1);
    const leaving = { ...web, metadata: { ...web.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } };
    expect(said(checkInstance(instance("web-3"), undefined, look(leaving)))[0]).toContain("being deleted");
  });

  it("never rebinds, changes its run, or takes back a stop or a release", () => {
    const bound = instance("web-3", { host: "a" }, { custody: "Released" });
    const change = (spec: Partial<Instance["spec"]>, status: Instance["status"] = { custody: "Released" }) =>
      said(checkInstance(instance("web-3", { host: "a", ...spec }, status), bound, look(web)));
    expect(change({})).toEqual([]);
    expect(change({ running: false })).toEqual([]);
    expect(change({ host: "b" })).toHaveLength(1);
    expect(change({ predecessor: "web-1" })).toHaveLength(1);
    expect(change({ incoming: true })).toHaveLength(1);
    expect(change({ maxMemory: "1Gi" })).toHaveLength(1);
    expect(change({}, { custody: "Held" })).toEqual(["status.custody: Forbidden: Released is for ever"]);
    const stopped = instance("web-3", { running: false });
    expect(checkInstance(instance("web-3"), stopped, look(web))).toHaveLength(1);
    const over = instance("web-3", {}, { custody: "Released" });
    expect(
      said(checkInstance(instance("web-3", { host: "a" }, { custody: "Released" }), over, look(web)))[0],
    ).toContain("cannot be bound to a host any more");
  });

  it("gives custody only when nobody has it and the predecessor let go", () => {
    const before = instance("web-3", { host: "a", predecessor: "web-2" });
    const after = instance("web-3", { host: "a", predecessor: "web-2" }, { custody: "Held" });
    const take = (...others: Instance[]) => said(checkInstance(after, before, look(web, ...others)));
    expect(take()).toEqual([]);
    expect(take(instance("web-2", {}, { custody: "Released" }))).toEqual([]);
    expect(take(instance("web-2", {}, { custody: "None" }))[0]).toContain("web-2 has not released");
    expect(take(instance("web-1", {}, { custody: "Held" }))[0]).toContain("web-1 has not released");
    expect(take(instance("db-1", { vm: "db", vmUid: "uid-db" }, { custody: "Held" }))).toEqual([]);
  });

  it("mends one that was stored in no instance's shape to no other machine's than its name says", () => {
    const mended = (spec: Partial<Instance["spec"]>) => {
      const object = instance("web-3", spec);
      const metadata = { ...object.metadata, resourceVersion: "7" };
      return said(checkInstance({ ...object, metadata }, undefined, look(web)));
    };
    expect(mended({})).toEqual([]);
    expect(mended({ vm: "db" })[0]).toContain("is not the machine of an instance called web-3");
  });
});

describe("room on a host", () => {
  const web = vm("web", {}, { sequence: 3 });
  const b: Host = {
    apiVersion: "vireo.dev/v1",
    kind: "Host",
    metadata: { name: "b" },
    spec: {},
    status: { capacity: { cpus: 4, memory: "1Gi" } },
  };
  const run = (name: string, spec: Partial<Instance["spec"]>, status?: Instance["status"]) =>
    instance(`${name}-1`, { vm: name, vmUid: `uid-${name}`, host: "b", ...spec }, status);
  const bind = (spec: Partial<Instance["spec"]>, ...others: Resource[]) =>
    said(
      checkInstance(
        instance("web-3", { ...spec, host: "b" }),
        instance("web-3", spec),
        look(web, b, ...others),
      ),
    );
  const create = (spec: Partial<Instance["spec"]>, ...others: Resource[]) =>
    said(checkInstance(instance("web-3", { ...spec, host: "b" }), undefined, look(web, b, ...others)));

  it("is never given twice, whoever binds: memory and CPUs", () => {
    for (const write of [bind, create]) {
      expect(write({ cpus: 2 }, run("db", { cpus: 2 }))).toEqual([]);
      expect(write({ cpus: 3 }, run("db", { cpus: 2 }))).toEqual([
        "spec.host: Forbidden: host b has 2 of 4 CPUs free, the machine needs 3",
      ]);
      expect(write({ memory: "512Mi" }, run("db", { memory: "600Mi" }))).toEqual([
        "spec.host: Forbidden: host b has 424Mi of 1Gi memory free, the machine needs 512Mi",
      ]);
    }
  });

  it("is not given by a host that cannot be read; what runs there may grow", () => {
    const marked = { ...b, metadata: { ...b.metadata, annotations: { [INVALID]: "spec.site: odd" } } };
    const old = instance("web-3", {});
    const bound = instance("web-3", { host: "b" });
    const why =
      "spec.host: Forbidden: host b takes no machines: it is stored in a shape that cannot be read (spec.site: odd); kubectl edit host b mends it";
    expect(said(checkInstance(bound, old, look(web, marked)))).toEqual([why]);
    expect(said(checkInstance(bound, undefined, look(web, marked)))).toEqual([why]);
    expect(said(checkInstance(instance("web-3", { host: "b", cpus: 2 }), bound, look(web, marked)))).toEqual(
      [],
    );
  });

  it("counts what runs there, also without a machine or odd; not what is over, elsewhere, or waits for the same disks", () => {
    expect(bind({ cpus: 1 }, run("gone", { cpus: 4 }))).toHaveLength(1);
    const odd = run("odd", { cpus: 4, memory: "much" });
    odd.metadata.annotations = { [INVALID]: "spec.memory" };
    expect(bind({ cpus: 1 }, odd)).toHaveLength(1);
    expect(bind({ cpus: 4 }, run("db", { cpus: 4 }, { custody: "Released" }))).toEqual([]);
    expect(bind({ cpus: 4 }, run("db", { cpus: 4, host: "c" }))).toEqual([]);
    expect(bind({ cpus: 4 }, run("web", { cpus: 4 }))).toEqual([]);
    const [one, two] = [run("db", { cpus: 2 }, { custody: "Held" }), run("db", { cpus: 2 })];
    two.metadata.name = "db-2";
    expect(bind({ cpus: 2 }, one, two)).toEqual([]);
  });

  it("is not asked about a run that is bound already", () => {
    const old = instance("web-3", { host: "b", cpus: 8 });
    expect(checkInstance({ ...old, status: { phase: "Running" } }, old, look(web, b))).toEqual([]);
  });
});

describe("a Migration", () => {
  const changed = (object: Migration, old: Migration) => said(checkRules(object, old, Migration.schema));
  const migration = (spec: Partial<Migration["spec"]> = {}): Migration => ({
    apiVersion: "vireo.dev/v1",
    kind: "Migration",
    metadata: { name: "m", namespace: "default" },
    spec: { vm: "web", to: "b", ...spec },
  });

  it("may only be called off, for good", () => {
    expect(changed(migration({ cancel: true }), migration())).toEqual([]);
    expect(changed(migration({ to: "c" }), migration())[0]).toContain("only cancel may change");
    expect(changed(migration({ reason: "x" }), migration())).toHaveLength(1);
    expect(changed(migration(), migration({ cancel: true }))).toEqual([
      "spec.cancel: Forbidden: it was called off; create another Migration",
    ]);
  });
});

describe("a Network", () => {
  const network = (name: string, subnet: string): Network => ({
    apiVersion: "vireo.dev/v1",
    kind: "Network",
    metadata: { name },
    spec: { subnet, nat: true, mtu: 1450 },
  });
  const others = look(network("default", "10.77.0.0/24"));
  const messages = (subnet: string) =>
    checkNetwork(network("new", subnet), undefined, others).map((c) => `${c.field}: ${c.message}`);

  it("may not overlap another, and both are named", () => {
    expect(messages("10.77.0.128/25")[0]).toBe(
      'spec.subnet: Invalid value: "10.77.0.128/25": overlaps 10.77.0.0/24 of the network "default"',
    );
    expect(messages("10.0.0.0/8")[0]).toContain("overlaps 10.77.0.0/24");
    expect(messages("10.78.0.0/24")).toEqual([]);
  });

  it("has a name that machines can name", () => {
    const named = (name: string) => checkNetwork(network(name, "10.78.0.0/24"), undefined, others);
    expect(named("lab-1")).toEqual([]);
    expect(named("lab.1").map(({ field, message }) => `${field}: ${message}`)).toEqual([
      expect.stringMatching(/^metadata.name: Invalid value: "lab.1": must be a label/),
    ]);
    // It was made before, and is mended.
    const odd = network("lab.1", "10.78.0.0/24");
    expect(
      checkNetwork({ ...odd, metadata: { name: "lab.1", resourceVersion: "1" } }, undefined, others),
    ).toEqual([]);
    expect(checkNetwork(odd, odd, others)).toEqual([]);
  });

  it("has a subnet that is one", () => {
    expect(messages("10.78.0.7/24")[0]).toContain("has host bits set; write 10.78.0.0/24");
    expect(messages("10.300.0.0/24")[0]).toContain("at most 255");
    expect(messages("10.78.0.0/31")[0]).toContain("from 8 to 29");
  });
});

it("a Network keeps its MTU, which machines were started with", async () => {
  const { client, close } = await openControlPlane();
  await client.create(Network, { metadata: { name: "net" }, spec: { subnet: "10.1.0.0/24" } });
  await expect(client.patch(Network, { name: "net" }, { spec: { mtu: 1400 } })).rejects.toThrow(
    "spec.mtu: Forbidden: cannot be changed, running machines have it; make another network",
  );
  await close();
});
