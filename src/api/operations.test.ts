/** Semantics of the operations, on a real SQLite store, through the LocalClient where that is what callers use. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { modify } from "../client/client.ts";
import { overlay } from "../store/overlay.ts";
import { NotWritten, WritesForbidden } from "../store/store.ts";
import type { LocalClient } from "./local.ts";
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
let operations: Operations;
let client: LocalClient;
const create = (name: string, memory = "64Mi") => stack.create(name, { spec: { memory } });

beforeEach(async () => {
  stack = await openMachines();
  ({ operations, client } = stack);
});
afterEach(() => stack.remove());

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

  it("takes null for absent metadata, as Go clients write it", async () => {
    const metadata = { name: "x", creationTimestamp: null, labels: null, finalizers: null };
    const { object } = await operations.create(
      machineKind,
      "default",
      { metadata, spec: { memory: "64Mi" } },
      { user, fieldValidation: "Strict" },
    );
    expect(Object.keys(object.metadata).sort()).toEqual(
      [
        "creationTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "uid",
      ].sort(),
    );
  });

  it("makes names from generateName", async () => {
    const body = { metadata: { generateName: "job-" }, spec: { memory: "64Mi" } };
    const names = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { object } = await operations.create(machineKind, "default", body, { user });
        return object.metadata.name;
      }),
    );
    expect(new Set(names).size).toBe(20);
    expect(names[0]).toMatch(/^job-[0-9a-f]{5}$/);
  });

  it("does everything but the write in a dry run", async () => {
    const body = { metadata: { name: "x" }, spec: { memory: "64Mi" } };
    const revision = stack.store.revision();
    const { object } = await operations.create(machineKind, "default", body, { user, dryRun: true });
    expect(object).toMatchObject({ spec: { mode: "a" }, metadata: { generation: 1 } });
    await create("y");
    await operations.patch(
      machineKind,
      "default",
      "y",
      { type: "merge", body: { spec: { mode: "b" } } },
      { user, dryRun: true },
    );
    await operations.delete(machineKind, "default", "y", { user, dryRun: true });
    const bad = { metadata: { name: "x" }, spec: { memory: 512 } };
    const refused = failure(operations.create(machineKind, "default", bad, { user, dryRun: true }));
    expect((await refused).reason).toBe("Invalid");
    expect(stack.store.revision()).toBe(revision + 1);
  });

  it.each(["../etc", "a.b", "A", "a".repeat(64)])("refuses the namespace %j", async (namespace) => {
    const body = { metadata: { name: "x" }, spec: { memory: "64Mi" } };
    const error = await failure(operations.create(machineKind, namespace, body, { user }));
    expect(error.message).toContain("metadata.namespace");
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

  it("loses no patch when many come at once", async () => {
    await create("a");
    const patches = Array.from({ length: 50 }, (_, i) => ({ metadata: { labels: { [`n${i}`]: "x" } } }));
    await Promise.all(patches.map((patch) => client.patch(Machine, at("a"), patch)));
    const labels = (await client.get(Machine, at("a")))?.metadata.labels ?? {};
    expect(Object.keys(labels)).toHaveLength(50);
  });

  it("takes a resourceVersion in any patch as a precondition", async () => {
    const first = await create("a");
    await client.patch(Machine, at("a"), { spec: { mode: "b" } });
    const { resourceVersion } = first.metadata;
    const merge = client.patch(Machine, at("a"), { metadata: { resourceVersion }, spec: { mode: "a" } });
    expect((await failure(merge)).reason).toBe("Conflict");
    const body = [{ op: "replace", path: "/metadata/resourceVersion", value: resourceVersion }];
    const json = operations.patch(machineKind, "default", "a", { type: "json", body }, { user });
    expect((await failure(json)).reason).toBe("Conflict");
  });

  it("does not let clients change what is the server's", async () => {
    const first = await create("a");
    const metadata = {
      creationTimestamp: "2000-01-01T00:00:00Z",
      generation: 99,
      deletionTimestamp: "2000-01-01T00:00:00Z",
    };
    const after = await client.patch(Machine, at("a"), { metadata });
    expect(after).toEqual(first);
    const rename = failure(client.patch(Machine, at("a"), { metadata: { name: "b" } }));
    expect((await rename).message).toContain("is not the name on the URL");
    const other = failure(client.patch(Machine, at("a"), { metadata: { uid: "other" } }));
    expect((await other).reason).toBe("Conflict");
  });

  it("refuses an object that patches have made too large", async () => {
    await create("a");
    const grow = (i: number) =>
      client.patch(
        Machine,
        at("a"),
        { status: { phase: `${i}`.repeat(1_600_000) } },
        { subresource: "status" },
      );
    const error = await failure(grow(1));
    expect(error.message).toContain("larger than 1556480 bytes");
    expect((await client.get(Machine, at("a")))?.status).toBeUndefined();
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

  it("shows an object that starts or stops to match as ADDED or DELETED", async () => {
    const { resourceVersion } = await client.list(Machine);
    const seen: string[] = [];
    const stop = await operations.watch(
      machineKind,
      { resourceVersion, labelSelector: "tier=web", namespace: "default" },
      (event) => event.type !== "BOOKMARK" && seen.push(`${event.type} ${event.object.metadata.name}`),
    );
    await create("a");
    for (const tier of ["web", "web", "db", "web"]) {
      const change = { metadata: { labels: { tier }, annotations: { at: `${seen.length}` } } };
      await client.patch(Machine, at("a"), change);
    }
    await client.delete(Machine, at("a"));
    stop();
    expect(seen).toEqual(["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"]);
  });

  it("marks the end of the initial events of a WatchList, also when there are none", async () => {
    await create("a");
    for (const [labelSelector, expected] of [
      ["", ["ADDED", "BOOKMARK true"]],
      ["none=x", ["BOOKMARK true"]],
    ] as const) {
      const seen: string[] = [];
      const request = { resourceVersion: "", sendInitialEvents: true, bookmarks: true, labelSelector };
      const stop = await operations.watch(machineKind, request, (event) => {
        seen.push(event.type === "BOOKMARK" ? `BOOKMARK ${event.initialEventsEnd}` : event.type);
      });
      stop();
      expect(seen).toEqual(expected);
    }
  });

  it("gives everything first from revision 0, and refuses revisions of the future", async () => {
    await create("a");
    const seen: string[] = [];
    const stop = await operations.watch(machineKind, { resourceVersion: "0" }, (event) =>
      seen.push(event.type),
    );
    await create("b");
    stop();
    expect(seen).toEqual(["ADDED", "ADDED"]);
    for (const resourceVersion of ["999999", "x", "-1"]) {
      const error = await failure(operations.list(machineKind, { resourceVersion }));
      expect(error.reason).toBe(resourceVersion === "999999" ? "Timeout" : "BadRequest");
    }
    const garbled = failure(operations.list(machineKind, { continue: "garbage" }));
    expect((await garbled).reason).toBe("BadRequest");
  });

  it("says so when a kind is not served, rather than that there is nothing", async () => {
    const other = { ...Machine, plural: "others" };
    await expect(client.get(other, at("a"))).rejects.toThrow("is not among those that are served");
  });

  it("has the same after a restart", async () => {
    await create("a");
    const { items, resourceVersion } = await client.list(Machine);
    await stack.restart();
    expect(await stack.client.list(Machine)).toEqual({ items, skipped: [], resourceVersion });
  });

  it("says Expired when the history is gone", async () => {
    const { resourceVersion } = await client.list(Machine);
    await create("a");
    await create("b");
    await stack.store.compact(stack.store.revision());
    await stack.restart();
    const watching = (async () => {
      for await (const _ of stack.client.watch(Machine, { resourceVersion })) return;
    })();
    expect((await failure(watching)).reason).toBe("Expired");
  });
});

it("while the disk is full it starts, shows what there is, and tells at once that nothing is written, with no time to come again", async () => {
  await create("a");
  const full = () => Promise.reject(new NotWritten("its disk is full"));
  const started = await Operations.open(overlay(stack.store, { compact: full, commit: full }), [machineKind]);
  expect((await started.get(machineKind, "default", "a")).metadata.name).toBe("a");
  const body = { metadata: { name: "b" }, spec: { memory: "64Mi" } };
  const error = await failure(started.create(machineKind, "default", body, { user }));
  expect(error).toMatchObject({ reason: "ServiceUnavailable", details: {} });
  expect(error.message).toBe("the store cannot write: its disk is full. Nothing was changed");
  expect(error.details.retryAfterSeconds).toBeUndefined();
  await started.close();
});

it("what something else than the store forbids is refused in the words of that", async () => {
  const forbid = () => Promise.reject(new WritesForbidden("the audit log cannot be written"));
  const started = await Operations.open(overlay(stack.store, { commit: forbid }), [machineKind]);
  const body = { metadata: { name: "a" }, spec: { memory: "64Mi" } };
  const error = await failure(started.create(machineKind, "default", body, { user }));
  expect(error).toMatchObject({ code: 503, details: {} });
  expect(error.message).toBe("the audit log cannot be written. Nothing was changed");
  await started.close();
});
