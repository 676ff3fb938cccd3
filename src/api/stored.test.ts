/** Objects in the store that are of another version, or not of their kind's shape at all. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { INVALID } from "../resource/invalid.ts";
import { Operations } from "./operations.ts";
import {
  at,
  failure,
  Machine,
  type MachineStack,
  machineKind,
  openMachines,
  user,
} from "./testing/machines.ts";

let stack: MachineStack;
beforeEach(async () => {
  stack = await openMachines();
});
afterEach(() => stack.remove());

async function store(name: string, spec: unknown): Promise<void> {
  const object = { apiVersion: "vireo.dev/v1", kind: "Machine", metadata: { ...at(name), uid: name }, spec };
  await stack.store.commit({ key: `machines/default/${name}`, expected: 0, value: JSON.stringify(object) });
}

it("gets the defaults that a newer version has", async () => {
  await store("old", { memory: "64Mi" });
  await stack.restart();
  expect(await stack.client.get(Machine, at("old"))).toMatchObject({ spec: { memory: "64Mi", mode: "a" } });
});

it("are brought up to the kinds by several servers that start at once", async () => {
  for (let i = 0; i < 20; i++) await store(`old-${i}`, { memory: "64Mi" });
  const servers = await Promise.all([1, 2, 3].map(() => Operations.open(stack.store, [machineKind])));
  for (const server of servers) {
    const { items } = await server.list(machineKind, {});
    expect(items.map(({ spec }) => spec)).toEqual(Array(20).fill({ memory: "64Mi", mode: "a" }));
    await server.close();
  }
});

it("is marked, left out by typed clients, seen by people, and whole again when it is mended", async () => {
  await stack.create("sound");
  await store("odd", { memory: 7 });
  await stack.restart();
  const { operations, client } = stack;
  expect(operations.invalid.map(({ metadata }) => metadata.name)).toEqual(["odd"]);

  const { items, skipped, resourceVersion } = await client.list(Machine);
  expect(items.map(({ metadata }) => metadata.name)).toEqual(["sound"]);
  expect(skipped.map(({ uid }) => uid)).toEqual(["odd"]);
  const error = await failure(client.get(Machine, at("odd")));
  expect(error.message).toMatch(/^Machine "odd" is skipped until it is mended or deleted: spec\.memory: /);

  const seen = await operations.get(machineKind, "default", "odd");
  expect(seen.metadata.annotations?.[INVALID]).toContain("spec.memory: Invalid value: 7 has no unit");
  // What is not about the odd part still works, and does not take the mark away; nor can a client.
  const patch = (body: unknown) =>
    operations.patch(machineKind, "default", "odd", { type: "merge", body }, { user });
  const labelled = await patch({ metadata: { labels: { a: "b" }, annotations: { [INVALID]: null } } });
  expect(labelled.object.metadata.annotations?.[INVALID]).toContain("spec.memory");

  const stop = new AbortController();
  const watching = (async () => {
    for await (const event of client.watch(Machine, { resourceVersion, signal: stop.signal }))
      if (event.type === "MODIFIED" || event.type === "ADDED") return event.object.metadata.name;
    return undefined;
  })();
  const mended = await patch({ spec: { memory: "64Mi" } });
  expect(mended.object.metadata.annotations).toEqual({});
  expect(await watching).toBe("odd");
  stop.abort();
  // A sound object cannot be marked by a client.
  await client.patch(Machine, at("sound"), { metadata: { annotations: { [INVALID]: "x" } } });
  expect((await client.get(Machine, at("sound")))?.metadata.annotations).toEqual({});
});
