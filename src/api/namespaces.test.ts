/** Namespaces over the real operations: nothing is made in one that is not there, and one that goes takes all that is in it along. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { Migration } from "../compute/migrations/kinds.ts";
import { Plan } from "../director/planning/kinds.ts";
import { KINDS } from "../kinds.ts";
import { type Lookup, register } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { overlay } from "../store/overlay.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { LocalClient } from "./local.ts";
import { keepDefault, Namespace } from "./namespaces.ts";
import { Operations } from "./operations.ts";
import { failure, Machine } from "./testing/machines.ts";

const NAMESPACE = register(Namespace, { admitDelete: keepDefault });

let folder: string;
let store: Store;
let operations: Operations;
let client: LocalClient;

async function open(kinds = [NAMESPACE, register(Machine)]) {
  store = await openSqliteStore(join(folder, "store.sqlite"));
  operations = await Operations.open(store, kinds);
  client = new LocalClient(operations);
}
async function close() {
  await operations.close();
  await store.close();
}
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-namespaces-"));
  await open();
});
afterEach(async () => {
  await close();
  rmSync(folder, { recursive: true });
});

const make = (name: string, namespace: string, finalizers: string[] = []) =>
  client.create(Machine, { metadata: { name, namespace, finalizers }, spec: { memory: "64Mi" } });
const namespaces = async () => (await client.list(Namespace)).items.map(({ metadata }) => metadata.name);
const create = (name: string) => client.create(Namespace, { metadata: { name }, spec: {} });
const remove = (name: string) => client.delete(Namespace, { name });

it("the default one is there; what would go into a missing one is refused, and says what to do", async () => {
  expect(await namespaces()).toEqual(["default"]);
  expect(await client.get(Namespace, { name: "default" })).toMatchObject({ status: { phase: "Active" } });
  await make("a", "default");
  const error = await failure(make("a", "shop"));
  expect(error).toMatchObject({
    code: 404,
    message: 'namespaces "shop" not found: create it first (kubectl create namespace shop), or mend the name',
    details: { name: "shop", kind: "namespaces" },
  });
  await create("shop");
  await make("a", "shop");
});

it("the default one stays", async () => {
  expect((await failure(remove("default"))).message).toBe(
    'namespaces "default" is forbidden: this namespace may not be deleted',
  );
});

it("a name that is no label is refused", async () => {
  expect((await failure(create("a.b"))).message).toContain("metadata.name: Invalid value");
});

it("an empty one goes at once; one with objects takes no more, waits for the last, and goes with it", async () => {
  await create("empty");
  await remove("empty");
  await create("shop");
  await make("quick", "shop");
  await make("slow", "shop", ["example.com/wait"]);
  await make("elsewhere", "default", []);
  await remove("shop");
  expect(await client.get(Namespace, { name: "shop" })).toMatchObject({
    metadata: { deletionTimestamp: expect.any(String) },
    status: { phase: "Terminating" },
  });
  const left = async () => (await client.list(Machine)).items.map(({ metadata }) => metadata.name);
  expect(await left()).toEqual(["elsewhere", "slow"]);
  const error = await failure(make("new", "shop"));
  expect(error.message).toBe(
    'machines.vireo.dev "new" is forbidden: unable to create new content in namespace shop because it is being terminated',
  );
  expect(error).toMatchObject({ details: { causes: [{ reason: "NamespaceTerminating" }] } });
  // By force it does not go either.
  const forced = client.patch(Namespace, { name: "shop" }, { metadata: { finalizers: null } });
  expect((await failure(forced)).message).toContain("Machine slow is still in it");
  await client.patch(Machine, { name: "slow", namespace: "shop" }, { metadata: { finalizers: null } });
  expect(await left()).toEqual(["elsewhere"]);
  expect(await namespaces()).toEqual(["default"]);
  await create("shop");
  await make("new", "shop");
});

it.each(["Orphan", "Background", "Foreground"] as const)(
  "nothing stays behind, deleted by %s",
  async (propagation) => {
    await create("shop");
    const owner = await make("owner", "shop");
    const { name, uid = "" } = owner.metadata;
    await client.create(Machine, {
      metadata: {
        name: "owned",
        namespace: "shop",
        ownerReferences: [{ apiVersion: "vireo.dev/v1", kind: "Machine", name, uid }],
      },
      spec: { memory: "64Mi" },
    });
    const user = { name: "tester", groups: [] };
    await operations.delete(NAMESPACE, undefined, "shop", { user, propagation });
    expect(await namespaces()).toEqual(["default"]);
    expect((await client.list(Machine)).items).toEqual([]);
  },
);

it("what an object outside of it owns goes, too: the migration of a plan", async () => {
  await close();
  await open([...KINDS]);
  await create("shop");
  const move = { namespace: "shop", vm: "web", from: "a", to: "b", reason: "r", expected: "e" };
  const plan = await client.create(Plan, {
    metadata: { name: "plan-1" },
    spec: { trigger: "t", automation: "act", moves: [move] },
  });
  const { name, uid = "" } = plan.metadata;
  const ownerReferences = [{ apiVersion: plan.apiVersion, kind: plan.kind, name, uid }];
  await client.create(Migration, {
    metadata: { name: "plan-1-0", namespace: "shop", ownerReferences },
    spec: { vm: "web", plan: name },
  });
  await remove("shop");
  expect(await namespaces()).toEqual(["default"]);
  expect((await client.list(Migration)).items).toEqual([]);
  expect(await client.get(Plan, { name })).toBeDefined();
});

it("what may not go before something else is deleted when that has gone: a machine after its linked clones", async () => {
  await close();
  await open([...KINDS]);
  await create("shop");
  const machine = (name: string, source?: { vm: string }) =>
    client.create(VirtualMachine, {
      metadata: { name, namespace: "shop", finalizers: ["vireo.dev/volumes"] },
      spec: { image: "web", memory: "64Mi", ...(source ? { source } : {}) },
    });
  const { metadata } = await machine("base");
  const source = { mode: "Linked", ready: true, message: "", vm: "base", vmUid: metadata.uid };
  for (const name of ["one", "two"]) {
    await machine(name, { vm: "base" });
    const at = { name, namespace: "shop" };
    await client.patch(VirtualMachine, at, { status: { source } }, { subresource: "status" });
  }
  await remove("shop");
  const deleted = async () =>
    (await client.list(VirtualMachine)).items
      .filter(({ metadata }) => metadata.deletionTimestamp)
      .map(({ metadata }) => metadata.name);
  const destroyed = (name: string) =>
    client.patch(VirtualMachine, { name, namespace: "shop" }, { metadata: { finalizers: null } });
  expect(await deleted()).toEqual(["one", "two"]);
  await destroyed("one");
  expect(await deleted()).toEqual(["two"]);
  await destroyed("two");
  await expect.poll(deleted).toEqual(["base"]);
  await destroyed("base");
  expect(await namespaces()).toEqual(["default"]);
});

/** In namespace shop, which is deleted, `second` is refused for as long as `first` is there; the store holds up the deletion of `second` until `release`. */
async function refusedMeanwhile() {
  await close();
  const inner = await openSqliteStore(join(folder, "store.sqlite"));
  const held = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const commits: string[] = [];
  store = overlay(inner, {
    commit: async (write) => {
      commits.push(write.key);
      if (write.key === "machines/shop/second" && write.value === undefined) {
        held.resolve();
        await release.promise;
      }
      return inner.commit(write);
    },
  });
  const admitDelete = ({ metadata }: Resource, lookup: Lookup) =>
    metadata.name === "second" &&
    lookup.list(Machine, "shop").some((other) => other.metadata.name === "first")
      ? "first is there"
      : undefined;
  operations = await Operations.open(store, [NAMESPACE, register(Machine, { admitDelete })]);
  client = new LocalClient(operations);
  await create("shop");
  await make("first", "shop", ["example.com/wait"]);
  await make("second", "shop");
  await remove("shop");
  const at = { name: "first", namespace: "shop" };
  return {
    commits,
    held: held.promise,
    release: release.resolve,
    endFirst: () => client.patch(Machine, at, { metadata: { finalizers: null } }),
  };
}

it("who takes away what others waited for is answered before they are deleted", async () => {
  const { held, release, endFirst } = await refusedMeanwhile();
  await endFirst();
  await held;
  expect(await namespaces()).toEqual(["default", "shop"]);
  release();
  await expect.poll(namespaces).toEqual(["default"]);
});

it("closing waits for what is being deleted in a namespace, begins nothing more, and the next start goes on", async () => {
  const { commits, held, release, endFirst } = await refusedMeanwhile();
  await endFirst();
  await held;
  const closing = operations.close();
  commits.push("closing");
  release();
  await closing;
  expect(await store.get("machines/shop/second")).toBeUndefined();
  expect(commits.at(-1)).toBe("closing");
  expect(await store.get("namespaces/shop")).toBeDefined();
  await store.close();
  await open();
  expect(await namespaces()).toEqual(["default"]);
});

it("closing does not wait until it is time to try again", async () => {
  const { commits, endFirst } = await refusedMeanwhile();
  await endFirst();
  await operations.close();
  expect(commits.at(-1)).toBe("machines/shop/first");
  await store.close();
  await open();
  expect(await namespaces()).toEqual(["default"]);
});

it("of creations and a deletion at the same time, no object is left without its namespace", async () => {
  for (let round = 0; round < 10; round++) {
    await create("shop");
    await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => (i === 10 ? remove("shop") : make(`m${i}`, "shop"))),
    );
    expect(await namespaces()).toEqual(["default"]);
    expect((await client.list(Machine)).items).toEqual([]);
  }
});

it("a deletion that a crash cut short is finished at the start", async () => {
  await create("shop");
  await make("a", "shop");
  await make("b", "shop", ["example.com/wait"]);
  // As it is when only the mark was stored.
  const stored = await store.get("namespaces/shop");
  const { metadata, ...rest } = JSON.parse(stored?.value ?? "{}");
  const deletion = { deletionTimestamp: metadata.creationTimestamp, finalizers: ["foregroundDeletion"] };
  await store.commit({
    key: "namespaces/shop",
    expected: stored?.revision ?? 0,
    value: JSON.stringify({ ...rest, metadata: { ...metadata, ...deletion } }),
  });
  await close();
  await open();
  expect((await client.list(Machine)).items.map((machine) => machine.metadata.name)).toEqual(["b"]);
  await client.patch(Machine, { name: "b", namespace: "shop" }, { metadata: { finalizers: null } });
  expect(await namespaces()).toEqual(["default"]);
});

it("those of an installation from before namespaces had to be made are made at the start", async () => {
  await close();
  await open([register(Machine)]);
  await make("a", "shop");
  await make("b", "bank");
  await close();
  await open();
  expect(await namespaces()).toEqual(["bank", "default", "shop"]);
  await make("b", "shop");
});
