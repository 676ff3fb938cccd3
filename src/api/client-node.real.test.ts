/** Kubernetes' own JavaScript client (@kubernetes/client-node) against a real server: what a program in Node would use. */
import {
  CustomObjectsApi,
  KubeConfig,
  KubernetesObjectApi,
  makeInformer,
  PatchStrategy,
  Watch,
} from "@kubernetes/client-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const AT = { group: "vireo.dev", version: "v1", namespace: "default", plural: "virtualmachines" };
const PATH = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";

interface Machine {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; resourceVersion?: string };
  spec?: { cpus?: number; memory?: string; image?: string };
}

const machine = (name: string, spec: Machine["spec"] = {}): Machine => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name, namespace: "default", labels: { test: "node" } },
  spec: { memory: "64Mi", image: "shop", ...spec },
});

describe("@kubernetes/client-node", () => {
  let stack: ApiStack;
  let config: KubeConfig;
  let custom: CustomObjectsApi;
  let objects: KubernetesObjectApi;
  beforeAll(async () => {
    stack = await startApiStack();
    config = new KubeConfig();
    config.loadFromFile(stack.kubeconfig);
    custom = config.makeApiClient(CustomObjectsApi);
    objects = KubernetesObjectApi.makeApiClient(config);
  });
  afterAll(async () => {
    expect(stack.errors).toEqual([]);
    await stack[Symbol.asyncDispose]();
  });

  const admin = () => stack.admin();
  const at = (name: string) => ({ name, namespace: "default" });
  const apply = (object: Machine, manager: string, force = false) =>
    objects.patch(object, undefined, undefined, manager, force, PatchStrategy.ServerSideApply);

  it("finds kinds by discovery; creates, reads, lists in pages, replaces, deletes", async () => {
    const made = await objects.create(machine("a"));
    expect(made).toMatchObject({ kind: "VirtualMachine", spec: { cpus: 1 } });
    await objects.create(machine("b"));
    const read: unknown = await objects.read({ ...made, metadata: at("a") });
    expect(read).toMatchObject({ metadata: { name: "a", generation: 1 } });
    // Of lists by KubernetesObjectApi the client loses metadata.continue.
    const first: unknown = await custom.listNamespacedCustomObject({ ...AT, limit: 1 });
    const next: unknown = Reflect.get(Object(Reflect.get(Object(first), "metadata")), "continue");
    expect(first).toMatchObject({ items: [{ metadata: { name: "a" } }] });
    const second: unknown = await custom.listNamespacedCustomObject({
      ...AT,
      limit: 1,
      _continue: String(next),
    });
    expect(second).toMatchObject({ items: [{ metadata: { name: "b" } }] });
    const listed: unknown = await custom.listNamespacedCustomObject({ ...AT, labelSelector: "test=node" });
    expect(listed).toMatchObject({ items: [{}, {}] });
    await objects.replace({ ...made, spec: { memory: "64Mi", image: "shop", cpus: 3 } });
    await expect(
      objects.replace({ ...made, spec: { memory: "64Mi", image: "shop", cpus: 4 } }),
    ).rejects.toMatchObject({ code: 409 });
    await objects.delete({ ...made, metadata: at("b") });
    await expect(objects.read({ ...made, metadata: at("b") })).rejects.toMatchObject({ code: 404 });
  });

  it("patches: merge, JSON, status", async () => {
    await objects.patch(
      { ...machine("a"), spec: { cpus: 5 } },
      undefined,
      undefined,
      "node",
      undefined,
      PatchStrategy.MergePatch,
    );
    await custom.patchNamespacedCustomObject({
      ...AT,
      name: "a",
      body: [{ op: "replace", path: "/spec/cpus", value: 6 }],
    });
    expect((await admin().get(VirtualMachine, at("a")))?.spec.cpus).toBe(6);
  });

  it("applies from the server's side; conflicts are told with their fields", async () => {
    await apply(machine("applied", { cpus: 2 }), "one");
    await expect(apply(machine("applied", { cpus: 4 }), "two")).rejects.toMatchObject({
      code: 409,
      body: expect.stringContaining('"field":".spec.cpus"'),
    });
    await apply(machine("applied", { cpus: 4 }), "two", true);
    expect((await admin().get(VirtualMachine, at("applied")))?.spec.cpus).toBe(4);
  });

  it("watches", async () => {
    const events: string[] = [];
    const watch = await new Watch(config).watch(
      PATH,
      { labelSelector: "watched=yes", allowWatchBookmarks: true },
      (type, object) => events.push(`${type} ${object.metadata.name}`),
      () => {},
    );
    try {
      await admin().create(VirtualMachine, {
        metadata: { ...at("w"), labels: { watched: "yes" } },
        spec: { memory: "64Mi", image: "a" },
      });
      await expect.poll(() => events, { timeout: 10_000 }).toContain("ADDED w");
      // What no longer matches the selector is gone for this watch.
      await admin().patch(VirtualMachine, at("w"), { metadata: { labels: { watched: null } } });
      await expect.poll(() => events, { timeout: 10_000 }).toEqual(["ADDED w", "DELETED w"]);
    } finally {
      watch.abort();
    }
  });

  it("an informer follows", async () => {
    const seen: string[] = [];
    const list = () => objects.list<Machine>("vireo.dev/v1", "VirtualMachine", "default");
    const informer = makeInformer(config, PATH, list);
    informer.on("add", ({ metadata }) => seen.push(`add ${metadata.name}`));
    informer.on("update", ({ metadata }) => seen.push(`update ${metadata.name}`));
    informer.on("delete", ({ metadata }) => seen.push(`delete ${metadata.name}`));
    await informer.start();
    try {
      await expect.poll(() => seen, { timeout: 10_000 }).toContain("add a");
      await admin().patch(VirtualMachine, at("a"), { spec: { cpus: 7 } });
      await expect.poll(() => seen, { timeout: 10_000 }).toContain("update a");
      await admin().delete(VirtualMachine, at("applied"));
      await expect.poll(() => seen, { timeout: 10_000 }).toContain("delete applied");
      expect(informer.get("a", "default")).toMatchObject({ spec: { cpus: 7 } });
    } finally {
      await informer.stop();
    }
  });
});
