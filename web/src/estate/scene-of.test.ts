/** The map's scene: what does not change its looks is the same object from scene to scene, and nothing is older than what it is made of. */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { loadOf } from "../data/derive.ts";
import type { HostBrief, Machine, Migration, Policy } from "../data/kinds.ts";
import { movesOf, type Parts, sceneOf } from "./scene-of.ts";

// Read by what it imports.
vi.hoisted(() => vi.stubGlobal("localStorage", { getItem: () => null }));
beforeAll(() => {
  vi.stubGlobal("document", { documentElement: {} });
  vi.stubGlobal("getComputedStyle", () => ({ getPropertyValue: (name: string) => name }));
});
afterAll(() => vi.unstubAllGlobals());

// Of each only what the map looks at.
const host = (name: string) =>
  ({
    metadata: { name },
    spec: {},
    status: { capacity: { cpus: 8, memory: "32Gi" }, conditions: [] },
  }) as unknown as HostBrief;
const machine = (name: string, on: string, { memory = "4Gi", tier = "web", cpus = 0.1 } = {}) =>
  ({
    metadata: { name, namespace: "default", labels: { tier } },
    spec: { cpus: 2, memory },
    status: {
      ...{ phase: "Running", host: on },
      usage: {
        cpus,
        disk: { readBytesPerSecond: 0, writtenBytesPerSecond: 0 },
        network: { receivedBytesPerSecond: 0, sentBytesPerSecond: 0 },
      },
    },
  }) as unknown as Machine;
const policy = (name: string, tier: string) =>
  ({
    metadata: { name, namespace: "default" },
    spec: { selector: { matchLabels: { tier } } },
  }) as unknown as Policy;

const HOSTS = ["a", "b", "c"].map(host);
const MACHINES = [machine("m0", "a"), machine("m1", "a"), machine("m2", "b"), machine("m3", "c")];
function parts(machines: readonly Machine[], other: Partial<Parts> = {}): Parts {
  const loads = loadOf(HOSTS, machines);
  const policies = other.policies ?? [policy("fast", "web"), policy("slow", "db")];
  return { hosts: HOSTS, machines, policies, sites: [], loads, filter: "", dark: false, ratio: 1, ...other };
}
/** All but m0, and what is in its place. */
const withM0 = (...first: Machine[]) => [...first, ...MACHINES.slice(1)];
const look = (scene: ReturnType<typeof sceneOf>, name = "m0") => scene.pieces.get(`default/${name}`);
const tilesKept = (scene: ReturnType<typeof sceneOf>, before: ReturnType<typeof sceneOf>) =>
  scene.layout.tiles.filter((tile) => before.layout.tiles.includes(tile)).map((tile) => tile.host);

it("what has told nothing but its usage leaves all tiles as they are", () => {
  const before = sceneOf(parts(MACHINES));
  const after = sceneOf(parts(withM0(machine("m0", "a", { cpus: 1.9 }))), before);
  expect(look(after)).toBe(look(before));
  expect(tilesKept(after, before)).toEqual(["a", "b", "c"]);
  expect(after.layout).toEqual(before.layout);
});

it.each([
  ["more memory", [machine("m0", "a", { memory: "8Gi" })], ["b", "c"]],
  ["another policy", [machine("m0", "a", { tier: "db" })], ["b", "c"]],
  ["another host", [machine("m0", "c")], ["b"]],
  ["no machine any more", [], ["b", "c"]],
])("%s: what it is of is made anew, nothing else", (_, first, kept) => {
  const before = sceneOf(parts(MACHINES));
  const next = parts(withM0(...first));
  const after = sceneOf(next, before);
  expect(after).toEqual({ ...sceneOf(next), made: expect.anything() });
  expect(tilesKept(after, before)).toEqual(kept);
});

it.each<[string, Partial<Parts>]>([
  ["filter", { filter: "m1" }],
  ["policies", { policies: [policy("all", "db"), policy("fast", "web")] }],
  ["none of the policies", { policies: [] }],
  ["theme", { dark: true }],
  ["shape", { ratio: 3 }],
])("another %s: nothing is as it was for the one before", (_, other) => {
  const before = sceneOf(parts(MACHINES));
  const after = sceneOf(parts(MACHINES, other), before);
  expect(after).toEqual({ ...sceneOf(parts(MACHINES, other)), made: expect.anything() });
  expect(after).not.toEqual({ ...before, made: expect.anything() });
  expect(sceneOf(parts(MACHINES), after)).toEqual({ ...before, made: expect.anything() });
});

it("a filter dims the machines that do not meet it, and hosts without one that does", () => {
  const { pieces, tiles } = sceneOf(parts(MACHINES, { filter: "m1" }));
  expect([...pieces.values()].map(({ dim }) => dim)).toEqual([true, false, true, true]);
  expect([...tiles.values()].map(({ dim }) => dim)).toEqual([false, true, true]);
});

it("moves are the migrations that go on and know both hosts", () => {
  const migration = (phase?: string, from?: string, to?: string) =>
    ({
      metadata: { name: "m", namespace: "default" },
      spec: { vm: "m0", to },
      status: { phase, from },
    }) as unknown as Migration;
  const move = { key: "default/m0", from: "a", to: "b" };
  expect(movesOf([migration("Running", "a", "b"), migration("Preparing", "a", "b")])).toEqual([move, move]);
  expect(
    movesOf([
      migration("Succeeded", "a", "b"),
      migration(undefined, "a", "b"),
      migration("Running", undefined, "b"),
      migration("Running", "a"),
    ]),
  ).toEqual([]);
});
