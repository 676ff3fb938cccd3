/** Deletion: finalizers, preconditions, and what becomes of objects that others own. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OwnerReference } from "../resource/object.ts";
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

const reference = (owner: Machine, more: Partial<OwnerReference> = {}): OwnerReference => ({
  apiVersion: "vireo.dev/v1",
  kind: "Machine",
  name: owner.metadata.name,
  uid: owner.metadata.uid ?? "",
  ...more,
});
const owned = (name: string, ...ownerReferences: OwnerReference[]) =>
  stack.create(name, { metadata: { ownerReferences } });
const names = async () => (await stack.client.list(Machine)).items.map((machine) => machine.metadata.name);
const remove = (name: string, propagation?: "Background" | "Foreground" | "Orphan") =>
  stack.operations.delete(machineKind, "default", name, { user, ...(propagation ? { propagation } : {}) });
const finalizers = (name: string, list: string[] | null) =>
  stack.client.patch(Machine, at(name), { metadata: { finalizers: list } });

describe("finalizers", () => {
  it("keep a deleted object, marked, until the last is taken off", async () => {
    await stack.create("a", { metadata: { finalizers: ["x.dev/one", "x.dev/two"] } });
    expect(await remove("a")).toMatchObject({ gone: false, object: { metadata: { generation: 2 } } });
    const marked = await stack.client.get(Machine, at("a"));
    expect(marked?.metadata.deletionTimestamp).toBeDefined();
    // Deleting it again changes nothing; and no new reason to keep it may come up.
    await remove("a");
    expect(await stack.client.get(Machine, at("a"))).toEqual(marked);
    const error = await failure(finalizers("a", ["x.dev/one", "x.dev/new"]));
    expect(error.message).toContain("no new finalizers can be added");
    await finalizers("a", ["x.dev/two"]);
    expect(await names()).toEqual(["a"]);
    await finalizers("a", null);
    expect(await names()).toEqual([]);
  });

  it("have names that cannot be mistaken", async () => {
    const error = await failure(stack.create("a", { metadata: { finalizers: ["mine"] } }));
    expect(error.message).toContain("metadata.finalizers[0]");
  });

  it("can be taken off although newer rules would refuse the object as it is", async () => {
    await stack.create("a", { metadata: { finalizers: ["x.dev/one"] } });
    await stack.restart(() => [{ field: "spec.memory", reason: "FieldValueInvalid", message: "too little" }]);
    const refused = failure(stack.client.patch(Machine, at("a"), { spec: { mode: "b" } }));
    expect((await refused).message).toContain("too little");
    const status = { status: { phase: "Up" } };
    await stack.client.patch(Machine, at("a"), status, { subresource: "status" });
    await remove("a");
    await finalizers("a", null);
    expect(await names()).toEqual([]);
  });
});

it("a precondition that does not hold refuses the deletion", async () => {
  const { metadata } = await stack.create("a");
  expect((await failure(stack.client.delete(Machine, at("a"), { uid: "other" }))).reason).toBe("Conflict");
  expect((await failure(stack.client.delete(Machine, at("a"), { resourceVersion: "1" }))).reason).toBe(
    "Conflict",
  );
  expect(await names()).toEqual(["a"]);
  await stack.client.delete(Machine, at("a"), { uid: metadata.uid ?? "" });
  expect(await names()).toEqual([]);
});

describe("what an owner leaves behind", () => {
  it("goes after it, whole trees of it", async () => {
    const root = await stack.create("root");
    const children = await Promise.all(["c1", "c2", "c3"].map((name) => owned(name, reference(root))));
    for (const child of children) await owned(`${child.metadata.name}-leaf`, reference(child));
    await stack.create("other");
    await remove("root");
    expect(await names()).toEqual(["other"]);
  });

  it("stays until the owner's finalizers are done", async () => {
    const owner = await stack.create("owner", { metadata: { finalizers: ["x.dev/one"] } });
    await owned("child", reference(owner));
    await remove("owner");
    expect(await names()).toEqual(["child", "owner"]);
    await finalizers("owner", null);
    expect(await names()).toEqual([]);
  });

  it("stays with the owners that are left", async () => {
    const [a, b] = [await stack.create("a"), await stack.create("b")];
    await owned("child", reference(a), reference(b));
    await remove("a");
    const child = await stack.client.get(Machine, at("child"));
    expect(child?.metadata.ownerReferences?.map((r) => r.name)).toEqual(["b"]);
    await remove("b");
    expect(await names()).toEqual([]);
  });

  it("is told apart by uid: a new owner of the same name is another one", async () => {
    const first = await stack.create("a");
    await remove("a");
    await stack.create("a");
    // Made too late: its owner is gone.
    await owned("child", reference(first));
    expect(await names()).toEqual(["a"]);
  });

  it("is left alone when its owner's kind is not served here", async () => {
    const owner = await stack.create("a");
    await owned("child", reference(owner, { apiVersion: "apps/v1", kind: "Deployment", uid: "elsewhere" }));
    await stack.restart();
    await remove("a");
    expect(await names()).toEqual(["child"]);
  });

  it("is orphaned when that is asked for, also when the owner goes later", async () => {
    const owner = await stack.create("owner", { metadata: { finalizers: ["x.dev/one"] } });
    await owned("child", reference(owner));
    await remove("owner", "Orphan");
    await finalizers("owner", null);
    expect(await names()).toEqual(["child"]);
    expect((await stack.client.get(Machine, at("child")))?.metadata.ownerReferences).toBeUndefined();
  });

  it("goes first in the foreground, while the owner waits for what blocks it", async () => {
    const owner = await stack.create("owner");
    await owned("quick", reference(owner));
    const slow = [reference(owner, { blockOwnerDeletion: true })];
    await stack.create("slow", { metadata: { ownerReferences: slow, finalizers: ["x.dev/one"] } });
    expect(await remove("owner", "Foreground")).toMatchObject({ gone: false });
    expect(await names()).toEqual(["owner", "slow"]);
    await finalizers("slow", null);
    expect(await names()).toEqual([]);
  });

  it("does not survive a crash between the two", async () => {
    const owner = await stack.create("owner");
    await owned("child", reference(owner));
    await owned("waiting", reference(owner));
    // As if the process had died right after the owner's end was durable.
    const key = "machines/default/owner";
    const entry = await stack.store.get(key);
    await stack.operations.close();
    await stack.store.commit({ key, expected: entry?.revision ?? 0, value: undefined });
    await stack.restart();
    expect(await names()).toEqual([]);
  });

  it("ends with a circle of owners", async () => {
    const a = await stack.create("a");
    const b = await owned("b", reference(a));
    await stack.client.patch(Machine, at("a"), { metadata: { ownerReferences: [reference(b)] } });
    await remove("a");
    expect(await names()).toEqual([]);
  });
});
