/** Server-side apply through the operations: on a store, with defaults, validation, status and the other writers. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Resource } from "../resource/object.ts";
import type { WriteOptions } from "./service.ts";
import { failure, type MachineStack, machineKind, openMachines } from "./testing/machines.ts";

let stack: MachineStack;
/** Each look at the clock is a second later. */
let now = Date.parse("2026-01-01T00:00:00Z");
beforeEach(async () => {
  stack = await openMachines(undefined, () => {
    now += 1000;
    return new Date(now);
  });
});
afterEach(() => stack.remove());

const user = (name: string): WriteOptions => ({ user: { name: "u", groups: [] }, fieldManager: name });

const config = (name: string, spec: object, metadata: object = {}) => ({
  apiVersion: "vireo.dev/v1",
  kind: "Machine",
  metadata: { name, ...metadata },
  spec,
});

interface Options extends Partial<WriteOptions> {
  force?: boolean;
  mayCreate?: boolean;
}

function apply(
  manager: string,
  name: string,
  body: unknown,
  { force = false, mayCreate = true, ...more }: Options = {},
) {
  const patch = { type: "apply" as const, body, force, mayCreate };
  return stack.operations.patch(machineKind, "default", name, patch, { ...user(manager), ...more });
}

function merge(manager: string, name: string, body: unknown, more: Partial<WriteOptions> = {}) {
  return stack.operations.patch(
    machineKind,
    "default",
    name,
    { type: "merge", body },
    { ...user(manager), ...more },
  );
}

const stored = (name: string) => stack.operations.get(machineKind, "default", name);
/** manager/operation/subresource -> its fields */
const owners = ({ metadata }: Resource) =>
  Object.fromEntries(
    (metadata.managedFields ?? []).map(({ manager, operation, subresource, fieldsV1 }) => [
      [manager, operation, subresource].filter(Boolean).join("/"),
      fieldsV1,
    ]),
  );

describe("managedFields", () => {
  it("tell for each manager what it has set, status apart", async () => {
    await stack.create("m", { metadata: { labels: { a: "1" } } });
    await merge("kubectl-label", "m", { metadata: { labels: { b: "2" } } });
    await merge("agent", "m", { status: { phase: "Up" } }, { subresource: "status" });
    const { metadata, ...object } = await stored("m");
    expect(owners({ metadata, ...object })).toEqual({
      "vireo/Update": {
        "f:metadata": { "f:labels": { ".": {}, "f:a": {} } },
        "f:spec": { ".": {}, "f:memory": {}, "f:mode": {} },
      },
      "kubectl-label/Update": { "f:metadata": { "f:labels": { "f:b": {} } } },
      "agent/Update/status": { "f:status": { ".": {}, "f:phase": {} } },
    });
    for (const entry of metadata.managedFields ?? []) {
      expect(entry).toMatchObject({ apiVersion: "vireo.dev/v1", fieldsType: "FieldsV1" });
      expect(entry.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    }
  });

  it("are kept by clients that leave them out, reset by [{}], rewritten by those who know them, and refused when they are wrong", async () => {
    await stack.create("m");
    const before = (await stored("m")).metadata.managedFields;
    const { metadata, ...rest } = await stored("m");
    const { managedFields: _, ...bare } = metadata;
    await stack.operations.update(machineKind, "default", "m", { ...rest, metadata: bare }, user("x"));
    expect((await stored("m")).metadata.managedFields).toEqual(before);
    const entry = {
      manager: "me",
      operation: "Apply",
      apiVersion: "vireo.dev/v1",
      fieldsType: "FieldsV1",
      fieldsV1: { "f:spec": { "f:memory": {} } },
    };
    await merge("x", "m", { metadata: { managedFields: [entry] } });
    expect(owners(await stored("m"))).toEqual({ "me/Apply": entry.fieldsV1 });
    await merge("x", "m", { metadata: { managedFields: [{}] } });
    expect((await stored("m")).metadata.managedFields).toBeUndefined();
    const wrong = await failure(
      merge("x", "m", { metadata: { managedFields: [{ ...entry, fieldsV1: { spec: {} } }] } }),
    );
    expect(wrong.message).toContain("metadata.managedFields[0].fieldsV1: Invalid value: not a set of fields");
    const operation = await failure(
      merge("x", "m", { metadata: { managedFields: [{ ...entry, operation: "Set" }] } }),
    );
    expect(operation.message).toContain("must be `Apply` or `Update`");
  });

  it("cannot be rewritten through status", async () => {
    await stack.create("m");
    await merge(
      "x",
      "m",
      { metadata: { managedFields: [{}] }, status: { phase: "a" } },
      { subresource: "status" },
    );
    expect(Object.keys(owners(await stored("m")))).toEqual(["vireo/Update", "x/Update/status"]);
  });

  it("do not make a write of one that changes nothing", async () => {
    await stack.create("m");
    const { resourceVersion, managedFields } = (await stored("m")).metadata;
    await merge("another", "m", { spec: { memory: "64Mi" } });
    expect((await stored("m")).metadata).toMatchObject({ resourceVersion, managedFields });
  });

  it("are not copied for the server's own components", async () => {
    const made = await stack.create("m");
    expect(made.metadata.managedFields).toBeUndefined();
  });
});

describe("server-side apply", () => {
  it("makes the object, with defaults that nobody owns, and again changes nothing", async () => {
    const first = await apply("a", "m", config("m", { memory: "64Mi", disks: [{ name: "root" }] }));
    expect(first.created).toBe(true);
    expect(first.object).toMatchObject({ metadata: { generation: 1 }, spec: { mode: "a" } });
    expect(owners(first.object)).toEqual({
      "a/Apply": {
        "f:spec": { "f:memory": {}, "f:disks": { 'k:{"name":"root"}': { ".": {}, "f:name": {} } } },
      },
    });
    const again = await apply("a", "m", config("m", { memory: "64Mi", disks: [{ name: "root" }] }));
    expect(again.created).toBe(false);
    expect(again.object.metadata.resourceVersion).toBe(first.object.metadata.resourceVersion);
  });

  it("is none when it only leaves out what has a default, in a list that is applied as a whole, too", async () => {
    const ports = [{ number: 80 }];
    const first = await apply("a", "m", config("m", { memory: "64Mi", ports }));
    expect(first.object).toMatchObject({ spec: { ports: [{ number: 80, protocol: "tcp" }] } });
    const again = await apply("a", "m", config("m", { memory: "64Mi", ports }));
    expect(again.object).toEqual(first.object);
    expect(await stored("m")).toEqual(first.object);
  });

  it("merges lists of several managers, drops what one applies no more", async () => {
    await apply("a", "m", config("m", { memory: "64Mi", disks: [{ name: "root", size: 1 }], tags: ["x"] }));
    await apply("b", "m", config("m", { disks: [{ name: "data", size: 2 }], tags: ["y"], mode: "b" }));
    expect((await stored("m")).spec).toEqual({
      memory: "64Mi",
      mode: "b",
      disks: [
        { name: "root", size: 1 },
        { name: "data", size: 2 },
      ],
      tags: ["x", "y"],
    });
    const { object } = await apply("b", "m", config("m", { tags: ["y"] }));
    // The default stands where nobody says anything.
    expect(object.spec).toEqual({
      memory: "64Mi",
      mode: "a",
      disks: [{ name: "root", size: 1 }],
      tags: ["x", "y"],
    });
    expect(object.metadata.generation).toBe(3);
  });

  it("refuses to change what others have set, names each field, and takes it by force", async () => {
    await stack.create("m");
    await apply("a", "m", config("m", { disks: [{ name: "root", size: 1 }] }));
    const refused = await failure(
      apply("b", "m", config("m", { memory: "128Mi", disks: [{ name: "root", size: 2 }] })),
    );
    expect(refused).toMatchObject({
      code: 409,
      reason: "Conflict",
      details: {
        causes: [
          {
            reason: "FieldManagerConflict",
            field: '.spec.disks[name="root"].size',
            message: 'conflict with "a"',
          },
          {
            reason: "FieldManagerConflict",
            field: ".spec.memory",
            message: expect.stringMatching(/^conflict with "vireo" using vireo.dev\/v1 at 2/),
          },
        ],
      },
    });
    const { object } = await apply(
      "b",
      "m",
      config("m", { memory: "128Mi", disks: [{ name: "root", size: 2 }] }),
      { force: true },
    );
    expect(object.spec).toMatchObject({ memory: "128Mi", disks: [{ name: "root", size: 2 }] });
    expect(owners(object)["vireo/Update"]).toEqual({ "f:spec": { ".": {}, "f:mode": {} } });
    // The one who has lost it is told when it comes again.
    expect((await failure(apply("a", "m", config("m", { disks: [{ name: "root", size: 1 }] })))).reason).toBe(
      "Conflict",
    );
  });

  it("validates what comes of it, and tells of unknown fields", async () => {
    const invalid = await failure(apply("a", "m", config("m", { memory: "1" })));
    expect(invalid.reason).toBe("Invalid");
    expect(invalid.message).toContain("spec.memory");
    const { warnings } = await apply("a", "m", config("m", { memory: "64Mi", memry: "1" }));
    expect(warnings).toEqual(['unknown field "spec.memry"']);
    const strict = await failure(apply("a", "m", config("m", { memry: "1" }), { fieldValidation: "Strict" }));
    expect(strict.message).toContain('strict decoding error: unknown field "spec.memry"');
    const twice = await failure(apply("a", "m", config("m", { disks: [{ name: "a" }, { name: "a" }] })));
    expect(twice.message).toContain('spec.disks: Duplicate value: {"name":"a"}');
    expect(
      (await failure(merge("a", "m", { spec: { disks: [{ name: "a" }, { name: "a" }] } }))).message,
    ).toContain('spec.disks[1]: Duplicate value: {"name":"a"}');
    expect((await failure(apply("a", "m", config("n", {})))).message).toContain("is not the name on the URL");
    expect((await failure(apply("a", "m", config("m", {}, { managedFields: [] })))).message).toContain(
      "must be nil",
    );
  });

  it("status: only status, and never makes the object", async () => {
    const condition = {
      type: "Ready",
      status: "True",
      reason: "r",
      message: "",
      lastTransitionTime: "2026-01-01T00:00:00Z",
    };
    const status = (phase: string, type = "Ready") => ({
      apiVersion: "vireo.dev/v1",
      kind: "Machine",
      metadata: { name: "m", labels: { not: "taken" } },
      status: { phase, conditions: [{ ...condition, type }] },
    });
    const options = { subresource: "status" } as const;
    expect((await failure(apply("a", "m", status("Up"), options))).reason).toBe("NotFound");
    await stack.create("m");
    await apply("a", "m", status("Up"), options);
    const { object } = await apply("b", "m", { ...status("Up", "Other"), spec: { memory: "1Gi" } }, options);
    expect(object.metadata.labels).toBeUndefined();
    expect(object.spec).toMatchObject({ memory: "64Mi" });
    expect(object.status).toEqual({ phase: "Up", conditions: [condition, { ...condition, type: "Other" }] });
    expect(object.metadata.generation).toBe(1);
    // Not through the main resource, which does not own it either.
    const main = await apply("c", "m", status("Down"));
    expect(main.object.status).toMatchObject({ phase: "Up" });
    expect(owners(main.object)["c/Apply"]).toEqual({ "f:metadata": { "f:labels": { "f:not": {} } } });
  });

  it("dry run writes nothing, uid and resourceVersion are preconditions, a creation needs its permission", async () => {
    const dry = await apply("a", "m", config("m", { memory: "64Mi" }), { dryRun: true });
    expect(dry.created).toBe(true);
    expect((await failure(stored("m"))).reason).toBe("NotFound");
    expect(
      (await failure(apply("a", "m", config("m", { memory: "64Mi" }), { mayCreate: false }))).reason,
    ).toBe("Forbidden");
    expect((await failure(apply("a", "m", config("m", { memory: "64Mi" }, { uid: "x" })))).reason).toBe(
      "Conflict",
    );
    await stack.create("m");
    for (const precondition of [{ uid: "x" }, { resourceVersion: "1" }])
      expect((await failure(apply("a", "m", config("m", { mode: "b" }, precondition)))).reason).toBe(
        "Conflict",
      );
    const { resourceVersion } = (await stored("m")).metadata;
    const preview = await apply("a", "m", config("m", { mode: "b" }, { resourceVersion }), {
      dryRun: true,
      force: true,
    });
    expect(preview.object.spec).toMatchObject({ mode: "b" });
    expect((await stored("m")).spec).toMatchObject({ mode: "a" });
  });

  it("of two that make the object at once, one makes it and the other merges into it", async () => {
    const results = await Promise.all(
      ["a", "b", "c"].map((name) => apply(name, "m", config("m", { memory: "64Mi", tags: [name] }))),
    );
    expect(results.filter(({ created }) => created)).toHaveLength(1);
    expect(Object.keys(owners(await stored("m")))).toEqual(["a/Apply", "b/Apply", "c/Apply"]);
    expect([...Object(await stored("m")).spec.tags].sort()).toEqual(["a", "b", "c"]);
  });

  it("kubectl may take over what it applied from its own side, and its annotation follows", async () => {
    const annotation = "kubectl.kubernetes.io/last-applied-configuration";
    const lastApplied = JSON.stringify(config("m", { memory: "64Mi", mode: "a" }));
    const made = config("m", { memory: "64Mi", mode: "a" }, { annotations: { [annotation]: lastApplied } });
    await stack.operations.create(machineKind, "default", made, user("kubectl-client-side-apply"));
    const { object } = await apply("kubectl", "m", config("m", { memory: "128Mi", mode: "a" }));
    expect(object.spec).toMatchObject({ memory: "128Mi" });
    expect(JSON.parse(object.metadata.annotations?.[annotation] ?? "")).toMatchObject({
      spec: { memory: "128Mi" },
    });
    // What somebody else has changed since is theirs.
    await merge("other", "m", { spec: { mode: "b" } });
    expect(
      (await failure(apply("kubectl", "m", config("m", { memory: "128Mi", mode: "a" })))).message,
    ).toContain('"other" using vireo.dev/v1');
    expect((await failure(apply("someone", "m", config("m", { memory: "1Gi" })))).reason).toBe("Conflict");
  });
});
