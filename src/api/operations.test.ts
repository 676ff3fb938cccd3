/** Semantics of the operations, on a real SQLite store, through the LocalClient where that is what callers use. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modify } from "../client/client.ts";
import { Lease } from "../reconcile/kinds.ts";
import { ApiError } from "../resource/errors.ts";
import { defineKind, type Kind, Quantity, register, Words } from "../resource/kind.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { LocalClient } from "./local.ts";
import { Operations } from "./operations.ts";

const Machine = defineKind({
  kind: "Machine",
  plural: "machines",
  namespaced: true,
  description: "A machine, for these tests.",
  spec: Type.Object({
    memory: Quantity({ description: "Memory.", minimum: 2 ** 20, maximum: 2 ** 40 }),
    mode: Words(["a", "b"], { default: "a" }),
  }),
  status: Type.Object({ phase: Type.Optional(Type.String()) }),
  columns: [],
  selectableFields: ["status.phase"],
});
const user = { name: "tester", groups: [] };
const machineKind: Kind = register(Machine);

let folder: string;
let store: Store;
let operations: Operations;
let client: LocalClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-operations-"));
  store = await openSqliteStore(join(folder, "store.sqlite"));
  operations = await Operations.open(store, [machineKind, register(Lease)]);
  client = new LocalClient(operations);
});
afterEach(async () => {
  operations.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string) => ({ name, namespace: "default" });
const create = (name: string, memory = "64Mi") =>
  client.create(Machine, { metadata: at(name), spec: { memory } });

async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof ApiError)) throw new Error(`expected an ApiError, got ${String(error)}`);
  return error;
}

describe("create", () => {
  it("fills metadata and defaults, and drops status", async () => {
    const made = await client.create(Machine, { metadata: at("a"), spec: { memory: "64Mi" } });
    expect(made.spec.mode).toBe("a");
    expect(made.status).toBeUndefined();
    expect(made.metadata).toMatchObject({ generation: 1, namespace: "default", name: "a" });
    expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(await client.get(Machine, at("a"))).toEqual(made);
  });

  it.each([
    [{ memory: 512 }, 'spec.memory: Invalid value: 512 has no unit; write for example "512Mi"'],
    [{ memory: "-1Gi" }, 'spec.memory: Invalid value: "-1Gi" is negative'],
    [{ memory: "1e99Gi" }, 'spec.memory: Invalid value: "1e99Gi" is not a size'],
    [{ memory: "9999999Pi" }, "is more than the largest size"],
    [{ memory: "4Ti" }, "must be at most 1Ti"],
    [{}, "spec.memory: Required value"],
    [{ memory: "64Mi", mode: "c" }, 'spec.mode: Unsupported value: "c": supported values: "a", "b"'],
  ])("refuses %j, naming the field", async (spec, text) => {
    const error = await failure(
      operations.create(machineKind, "default", { metadata: { name: "x" }, spec }, { user }),
    );
    expect(error.reason).toBe("Invalid");
    expect(error.message).toContain(text);
    expect(error.details.causes?.[0]?.field).toMatch(/^spec/);
  });

  it.each(["../etc", "A", "a/b", "", "a".repeat(64), "a..b", "-a"])("refuses the name %j", async (name) => {
    const error = await failure(create(name));
    expect(error.message).toContain("metadata.name");
  });

  it("refuses unknown fields under Strict, warns otherwise, and never stores them", async () => {
    const body = { metadata: { name: "x" }, spec: { memory: "64Mi", colour: "red" } };
    const error = await failure(
      operations.create(machineKind, "default", body, { user, fieldValidation: "Strict" }),
    );
    expect(error.message).toContain('strict decoding error: unknown field "spec.colour"');
    const { object, warnings } = await operations.create(machineKind, "default", body, { user });
    expect(warnings).toEqual(['unknown field "spec.colour"']);
    expect(object.spec).not.toHaveProperty("colour");
  });

  it("is not harmed by prototype keys", async () => {
    const body: unknown = JSON.parse(
      '{"metadata":{"name":"x","labels":{"__proto__":"a"}},"spec":{"memory":"64Mi","__proto__":{"x":1},"constructor":{}}}',
    );
    const error = await failure(
      operations.create(machineKind, "default", body, { user, fieldValidation: "Strict" }),
    );
    expect(error.reason).toMatch(/BadRequest|Invalid/);
    expect(Reflect.get({}, "x")).toBeUndefined();
  });

  it("refuses a second of the same name", async () => {
    await create("a");
    expect((await failure(create("a"))).reason).toBe("AlreadyExists");
  });
});

describe("update and patch", () => {
  it("refuses a stale resourceVersion and changes nothing", async () => {
    const first = await create("a");
    await client.patch(Machine, at("a"), { spec: { mode: "b" } });
    const error = await failure(client.update(Machine, { ...first, spec: { ...first.spec, memory: "1Gi" } }));
    expect(error.reason).toBe("Conflict");
    expect((await client.get(Machine, at("a")))?.spec.memory).toBe("64Mi");
  });

  it("keeps status apart from spec", async () => {
    const first = await create("a");
    const withStatus = await client.updateStatus(Machine, {
      ...first,
      spec: { ...first.spec, mode: "b" },
      status: { phase: "Up" },
    });
    expect(withStatus).toMatchObject({
      spec: { mode: "a" },
      status: { phase: "Up" },
      metadata: { generation: 1 },
    });
    const changed = await client.patch(Machine, at("a"), { spec: { mode: "b" }, status: { phase: "Down" } });
    expect(changed).toMatchObject({
      spec: { mode: "b" },
      status: { phase: "Up" },
      metadata: { generation: 2 },
    });
  });

  it("does not write what changes nothing", async () => {
    const first = await create("a");
    const again = await client.patch(Machine, at("a"), { spec: { mode: "a" } });
    expect(again.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });

  it("loses no increment when many modify at once", async () => {
    await create("a");
    await Promise.all(
      Array.from({ length: 8 }, () =>
        modify(client, Machine, at("a"), "object", (machine) => ({
          ...machine,
          metadata: {
            ...machine.metadata,
            labels: { n: String(Number(machine.metadata.labels?.n ?? 0) + 1) },
          },
        })),
      ),
    );
    expect((await client.get(Machine, at("a")))?.metadata.labels?.n).toBe("8");
  });

  it("applies JSON patches and refuses those that do not fit", async () => {
    await create("a");
    const patch = (body: unknown) =>
      operations.patch(machineKind, "default", "a", { type: "json", body }, { user });
    const { object } = await patch([
      { op: "test", path: "/spec/mode", value: "a" },
      { op: "replace", path: "/spec/mode", value: "b" },
    ]);
    expect(object.spec).toMatchObject({ mode: "b" });
    expect((await failure(patch([{ op: "remove", path: "/spec/none" }]))).message).toContain("nothing at");
    expect((await failure(patch({ op: "add" }))).reason).toBe("BadRequest");
  });
});

describe("delete", () => {
  it("waits for finalizers, and takes owned objects along", async () => {
    const owner = await client.create(Machine, {
      metadata: { ...at("owner"), finalizers: ["vireo.dev/test"] },
      spec: { memory: "64Mi" },
    });
    await client.create(Machine, {
      metadata: {
        ...at("owned"),
        ownerReferences: [
          { apiVersion: "vireo.dev/v1", kind: "Machine", name: "owner", uid: owner.metadata.uid ?? "" },
        ],
      },
      spec: { memory: "64Mi" },
    });
    await client.delete(Machine, at("owner"));
    expect((await client.get(Machine, at("owner")))?.metadata.deletionTimestamp).toBeDefined();
    expect(await client.get(Machine, at("owned"))).toBeDefined();
    await client.patch(Machine, at("owner"), { metadata: { finalizers: null } });
    expect(await client.get(Machine, at("owner"))).toBeUndefined();
    expect(await client.get(Machine, at("owned"))).toBeUndefined();
  });

  it("refuses when the precondition does not hold", async () => {
    await create("a");
    expect((await failure(client.delete(Machine, at("a"), { uid: "other" }))).reason).toBe("Conflict");
    expect(await client.get(Machine, at("a"))).toBeDefined();
  });
});

describe("list and watch", () => {
  it("selects by labels and fields, and pages over one snapshot", async () => {
    for (const name of ["a", "b", "c"]) await create(name);
    await client.patch(Machine, at("b"), { metadata: { labels: { tier: "web" } } });
    const { items } = await client.list(Machine, { labelSelector: "tier in (web,db)" });
    expect(items.map((machine) => machine.metadata.name)).toEqual(["b"]);
    const first = await operations.list(machineKind, { limit: 2 });
    expect(first).toMatchObject({ remainingItemCount: 1 });
    await create("bb");
    const second = await operations.list(machineKind, { limit: 2, continue: first.continue ?? "" });
    expect(second.items.map((machine) => machine.metadata.name)).toEqual(["c"]);
    expect((await failure(client.list(Machine, { fieldSelector: "spec.none=1" }))).message).toContain(
      "field label not supported: spec.none",
    );
  });

  it("delivers every change after a revision, in order", async () => {
    const { resourceVersion } = await client.list(Machine);
    await create("a");
    await client.patch(Machine, at("a"), { spec: { mode: "b" } });
    await client.delete(Machine, at("a"));
    const seen: string[] = [];
    const stop = new AbortController();
    for await (const event of client.watch(Machine, { resourceVersion, signal: stop.signal })) {
      if (event.type === "BOOKMARK") continue;
      seen.push(`${event.type} ${event.object.spec.mode}`);
      if (seen.length === 3) stop.abort();
    }
    expect(seen).toEqual(["ADDED a", "MODIFIED b", "DELETED b"]);
  });

  it("says Expired when the history is gone", async () => {
    const { resourceVersion } = await client.list(Machine);
    await create("a");
    await create("b");
    await store.compact(store.revision());
    const watching = (async () => {
      for await (const _ of client.watch(Machine, { resourceVersion })) return;
    })();
    expect((await failure(watching)).reason).toBe("Expired");
  });
});
