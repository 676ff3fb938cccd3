/** What is stored in a wrong shape can be mended and deleted through the API, with the rules of all kinds in force. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { KINDS } from "../kinds.ts";
import { ApiError } from "../resource/errors.ts";
import { invalidity } from "../resource/invalid.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { keyFor } from "./cache.ts";
import { CONTROL_PLANE } from "./local.ts";
import { Operations } from "./operations.ts";

/** One sound object of each kind that has rules: what odd ones are mended to. */
const SPECS: Record<string, Record<string, unknown>> = {
  VirtualMachine: { memory: "64Mi", image: "web" },
  Instance: {
    vm: "odd",
    vmUid: "vm-uid",
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    interfaces: [],
    running: true,
  },
  Migration: { vm: "odd" },
  Image: { file: "web.qcow2" },
  Host: {},
  Network: { subnet: "10.1.0.0/24" },
  StoragePool: { directory: { path: "/pool" } },
  Policy: { selector: {} },
  Plan: {
    trigger: "t",
    moves: [{ namespace: "default", vm: "a", from: "x", to: "y", reason: "r", expected: "e" }],
  },
};

let folder: string;
let store: Store;
let operations: Operations;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-mend-"));
  store = await openSqliteStore(join(folder, "store.db"));
});
afterEach(async () => {
  await operations.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

const DAMAGES: readonly [string, Record<string, unknown>][] = [
  ["no spec", {}],
  ["a spec that is null", { spec: null }],
  ["a spec of another sort", { spec: [7] }],
  ["a status of another sort", { status: "fine" }],
];

describe.each(KINDS.filter(({ kind }) => SPECS[kind]))("$kind", (kind) => {
  const name = kind.kind === "Instance" ? "odd-1" : "odd";
  const namespace = kind.namespaced ? "default" : undefined;
  const user = { user: CONTROL_PLANE };
  const spec = SPECS[kind.kind];

  async function put(plural: string, object: Record<string, unknown>, at: string, ns: string | undefined) {
    await store.commit({ key: keyFor(plural, ns, at), expected: 0, value: JSON.stringify(object) });
  }
  async function openWith(more: Record<string, unknown>, metadata: Record<string, unknown> = {}) {
    const own = { name, uid: "odd-uid", ...(namespace ? { namespace } : {}), ...metadata };
    await put(
      kind.plural,
      { apiVersion: "vireo.dev/v1", kind: kind.kind, metadata: own, ...more },
      name,
      namespace,
    );
    if (kind.kind === "Instance")
      await put(
        "virtualmachines",
        {
          apiVersion: "vireo.dev/v1",
          kind: "VirtualMachine",
          metadata: { name: "odd", namespace: "default", uid: "vm-uid" },
          spec: SPECS.VirtualMachine,
          status: { sequence: 1 },
        },
        "odd",
        "default",
      );
    operations = await Operations.open(store, KINDS);
    const found = await operations.get(kind, namespace, name);
    expect(invalidity(found)).toBeTruthy();
    return found;
  }

  const damages = DAMAGES.filter(([, more]) => kind.hasStatus || !("status" in more));
  it.each(damages)("with %s is mended by a whole new one", async (_what, more) => {
    const found = await openWith("status" in more ? { spec, ...more } : more);
    const { status: _status, ...rest } = found;
    if ("status" in more)
      await operations.update(
        kind,
        namespace,
        name,
        { ...rest, status: {} },
        { ...user, subresource: "status" },
      );
    else await operations.update(kind, namespace, name, { ...rest, spec }, user);
    expect(invalidity(await operations.get(kind, namespace, name))).toBeUndefined();
  });

  it.each(damages)("with %s is deleted, and lets its finalizers be taken off", async (_what, more) => {
    await openWith("status" in more ? { spec, ...more } : more, { finalizers: ["vireo.dev/x"] });
    const { gone } = await operations.delete(kind, namespace, name, user);
    expect(gone).toBe(false);
    const body = { metadata: { finalizers: null } };
    await operations.patch(kind, namespace, name, { type: "merge", body }, user);
    await expect(operations.get(kind, namespace, name)).rejects.toBeInstanceOf(ApiError);
  });

  it("that is odd does not keep another from being made and changed", async () => {
    await openWith({ spec: null, status: "fine" });
    if (kind.kind === "Instance") return; // made for machines only: test/chaos/odd.test.ts
    const made = await operations.create(
      kind,
      namespace,
      { metadata: { name: "other", ...(namespace ? { namespace } : {}) }, spec },
      user,
    );
    expect(invalidity(made.object)).toBeUndefined();
    const body = { metadata: { labels: { a: "b" } } };
    await operations.patch(kind, namespace, "other", { type: "merge", body }, user);
  });
});
