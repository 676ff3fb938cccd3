/** What counts on a host: what runs there, whatever has become of the machine's own object. */
import { expect, it } from "vitest";
import type { Host } from "../../compute/hosts/kinds.ts";
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import type { Migration } from "../../compute/migrations/kinds.ts";
import { declaredFacts } from "../../compute/testing/estate.ts";
import { usage } from "../rules/rules.ts";
import { run, vm } from "../testing/machines.ts";
import { makeEstate, type Unread, viewHost } from "./estate.ts";

const MiB = 2 ** 20;
const apiVersion = "vireo.dev/v1" as const;

const estate = (machines: VirtualMachine[], instances: Instance[], unread: Unread[] = []) =>
  makeEstate({
    hosts: [],
    policies: [],
    machines,
    instances,
    unread: unread.map(({ kind, metadata }) => ({ kind, metadata })),
  });

it("counts what the run has, not what its machine is asked to be by now", () => {
  const changed = estate([vm("web", { cpus: 1, memory: "64Mi" })], [run("web", "a")]);
  expect(usage(changed, "a")).toEqual({ cpus: 2, memoryBytes: 128 * MiB, busy: 625, machines: 1 });
});

it("counts runs whose machine is gone or odd, on both hosts when they move, and never moves them", () => {
  const target = run("gone", "b", { incoming: true });
  target.metadata.name = "gone-2";
  target.status = { phase: "Incoming", custody: "None" };
  const without = estate([vm("new")], [run("gone", "a"), target]);
  expect(usage(without, "a")).toMatchObject({ cpus: 2, machines: 1 });
  expect(usage(without, "b")).toMatchObject({ cpus: 2, machines: 1 });
  expect(without.machines.find((m) => m.name === "gone")).toMatchObject({
    movable: false,
    labels: { tier: "gone" },
  });
  const odd = estate([], [run("odd", "a")], [vm("odd")]);
  expect(usage(odd, "a")).toMatchObject({ cpus: 2, memoryBytes: 128 * MiB });
  expect(odd.odd).toMatchObject([{ object: "VirtualMachine/odd" }]);
});

it("counts the run of a machine that makes no sense, and tells what is wrong", () => {
  const seen = estate([vm("web", { memory: "odd" }), vm("app")], [run("web", "a")]);
  // Its own memory counts while it has no run.
  expect(usage(seen, "a")).toMatchObject({ cpus: 2, machines: 1 });
});

it("moves no machine that is being suspended, or whose run is asked to stop", () => {
  const movable = (spec: Parameters<typeof vm>[1], more: Parameters<typeof run>[2] = {}) =>
    estate([vm("web", spec, "a")], [run("web", "a", more)]).machines[0]?.movable;
  expect(movable({})).toBe(true);
  expect(movable({ suspended: true })).toBe(false);
  expect(movable({}, { running: false })).toBe(false);
});

it("takes for off what is on no host and stays so until it is started", () => {
  const off = (spec: Parameters<typeof vm>[1], status: VirtualMachine["status"], ...runs: Instance[]) =>
    estate([{ ...vm("web", spec), ...(status ? { status } : {}) }], runs).machines[0]?.off ?? false;
  const unbound = () => {
    const made = run("web", "a");
    delete made.spec.host;
    return { ...made, status: { custody: "None" as const } };
  };
  const over = () => ({ ...run("web", "a"), status: { custody: "Released" as const } });
  expect(off({}, undefined)).toBe(false);
  expect(off({ running: false }, undefined)).toBe(true);
  expect(off({ suspended: true }, { phase: "Suspended" }, over())).toBe(true);
  // It shut itself down, or broke down for good.
  expect(off({}, { phase: "Stopped" }, over())).toBe(true);
  expect(off({}, { phase: "Failed" })).toBe(true);
  // It waits for its next start, or for a host.
  expect(off({}, { phase: "Pending" }, over())).toBe(false);
  expect(off({}, { phase: "Stopped" }, unbound())).toBe(false);
  expect(off({ running: false }, { phase: "Pending" }, unbound())).toBe(true);
  // It is still there.
  expect(off({ running: false }, { phase: "Stopping" }, run("web", "a"))).toBe(false);
});

it("keeps a machine whose run cannot be read where it was last, and tells of what cannot be read", () => {
  const unread = run("web", "a");
  unread.metadata.ownerReferences = [{ apiVersion, kind: "VirtualMachine", name: "web", uid: "uid-web" }];
  unread.metadata.annotations = { "vireo.dev/invalid": "spec.cpus: must be a number" };
  const seen = estate([vm("web", { cpus: 3 }, "a")], [], [unread]);
  expect(usage(seen, "a")).toMatchObject({ cpus: 3, machines: 1 });
  expect(seen.machines[0]).toMatchObject({ movable: false });
  expect(seen.odd).toEqual([{ object: "Instance/web-1", message: "spec.cpus: must be a number" }]);
});

it("knows how often in a row plans could not move a machine, and why", () => {
  const ended = (minute: number, status: Migration["status"], plan?: string): Migration => ({
    apiVersion,
    kind: "Migration",
    metadata: { name: `m${9 - minute}`, namespace: "default" },
    spec: { vm: "web", to: "b", ...(plan ? { plan } : {}) },
    status: { ...status, finishedTime: `2026-11-28T10:0${minute}:00Z` },
  });
  const failed = (minute: number, message: string, plan?: string) =>
    ended(minute, { phase: "Failed", message }, plan);
  const seen = (...migrations: Migration[]) =>
    makeEstate({
      hosts: [],
      policies: [],
      machines: [vm("web")],
      instances: [run("web", "a")],
      migrations,
    }).machines[0];
  const at = (minute: number) => Date.parse(`2026-11-28T10:0${minute}:00Z`);
  const moved = ended(2, { phase: "Succeeded", from: "b" });
  expect(seen(failed(1, "old", "p1"), moved)).toMatchObject({ left: [{ host: "b", at: at(2) }] });
  expect(seen(failed(1, "old", "p1"), moved)).not.toHaveProperty("failed");
  const twice = [failed(3, "no disk", "p2"), failed(5, "no room", "p3")];
  expect(seen(failed(1, "old", "p1"), moved, ...twice)?.failed).toEqual({
    times: 2,
    at: at(5),
    why: "no room",
  });
  // What a user tried is no trouble of the director's.
  expect(seen(failed(4, "by hand"))).not.toHaveProperty("failed");
  // Nor is one that a user called off.
  const off = ended(4, { phase: "Cancelled", message: "called off" }, "p4");
  expect(seen(off)).not.toHaveProperty("failed");
  expect(seen(failed(3, "no disk", "p2"), off)?.failed).toMatchObject({ times: 1, at: at(3) });
});

it("takes a host for cordoned by its spec", () => {
  const of = (spec: Host["spec"]) =>
    viewHost({
      apiVersion,
      kind: "Host",
      metadata: { name: "a" },
      spec,
      status: { capacity: { cpus: 1, memory: "1Gi" }, facts: declaredFacts("a") },
    });
  expect(of({ unschedulable: true })).toMatchObject({ cordoned: true, closed: "it is marked unschedulable" });
  expect(of({})).not.toHaveProperty("cordoned");
});
