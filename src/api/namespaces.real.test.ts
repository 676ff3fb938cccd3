/** Namespaces as people use them, by kubectl, and where no single process sees all writes: two API servers on one etcd. */
import { expect, it } from "vitest";
import { register } from "../resource/kind.ts";
import { openEtcdStore } from "../store/etcd.ts";
import { startEtcd } from "../store/testing/etcd.ts";
import { LocalClient } from "./local.ts";
import { Namespace } from "./namespaces.ts";
import { Operations } from "./operations.ts";
import { KUBECTLS, Kubectl } from "./testing/kubectl.ts";
import { Machine } from "./testing/machines.ts";
import { startApiStack } from "./testing/stack.ts";

it.each(KUBECTLS)("%s: a project is made, used and deleted with all that is in it", async (path) => {
  await using stack = await startApiStack();
  const kubectl = new Kubectl(path, stack);
  const vm = (namespace: string, more = "") =>
    `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: {name: web, namespace: ${namespace}${more}}\nspec: {memory: 64Mi, image: web}\n`;
  const web = kubectl.manifest("web", vm("shop"));
  expect(await kubectl.fails("apply", "-f", web)).toMatch(
    /\(NotFound\): .*namespaces "shop" not found: create it first/,
  );
  expect(await kubectl.ok("create", "namespace", "shop")).toBe("namespace/shop created\n");
  expect(await kubectl.fails("create", "ns", "shop")).toContain('namespaces "shop" already exists');
  expect(await kubectl.ok("apply", "-f", web)).toBe("virtualmachine.vireo.dev/web created\n");
  expect(await kubectl.ok("get", "ns")).toMatch(/NAME +STATUS +AGE\ndefault +Active .*\nshop +Active /);
  expect(await kubectl.ok("label", "ns", "shop", "tier=gold")).toBe("namespace/shop labeled\n");
  expect(await kubectl.ok("get", "ns", "-l", "tier=gold", "-o", "name")).toBe("namespace/shop\n");
  // A folder of manifests makes its project itself.
  const both = kubectl.manifest(
    "both",
    `apiVersion: v1\nkind: Namespace\nmetadata: {name: bank}\n---\n${vm("bank", ", finalizers: [example.com/wait]")}`,
  );
  expect(await kubectl.ok("apply", "-f", both)).toBe(
    "namespace/bank created\nvirtualmachine.vireo.dev/web created\n",
  );
  expect(await kubectl.ok("apply", "--server-side", "--force-conflicts", "-f", both)).toContain(
    "namespace/bank",
  );
  expect(await kubectl.ok("delete", "ns", "shop", "--timeout=30s")).toContain('namespace "shop" deleted');
  await kubectl.ok("delete", "ns", "bank", "--wait=false");
  expect(await kubectl.ok("get", "ns", "bank")).toContain("Terminating");
  expect(await kubectl.ok("get", "vm", "-A", "-o", "jsonpath={.items[*].metadata.namespace}")).toBe("bank");
  await kubectl.ok(
    "patch",
    "vm",
    "web",
    "-n",
    "bank",
    "--type=merge",
    "-p",
    '{"metadata":{"finalizers":null}}',
  );
  expect(await kubectl.ok("get", "ns", "-o", "name")).toBe("namespace/default\n");
  expect(stack.errors).toEqual([]);
});

it("no object is left without its namespace, made through one server while another deletes it", async () => {
  const cluster = await startEtcd();
  const servers = await Promise.all(
    [0, 1].map(async () => {
      const store = await openEtcdStore({ endpoints: cluster.endpoints, root: "/vireo" });
      const operations = await Operations.open(store, [register(Namespace), register(Machine)]);
      return { store, operations, client: new LocalClient(operations) };
    }),
  );
  const [first, second] = servers.map(({ client }) => client);
  if (!first || !second) throw new Error("two servers");
  let refused = 0;
  for (let round = 0; round < 15; round++) {
    await first.create(Namespace, { metadata: { name: "shop" }, spec: {} });
    const metadata = (i: number) => ({ name: `m${i}`, namespace: "shop" });
    const make = (i: number) => second.create(Machine, { metadata: metadata(i), spec: { memory: "64Mi" } });
    // One after the other, so that the deletion comes at another moment of it each time.
    const making = (async () => {
      for (let i = 0; i < 8; i++) await make(i);
    })().catch(() => refused++);
    for (let i = 0; i < round; i++) await second.get(Namespace, { name: "default" });
    await first.delete(Namespace, { name: "shop" });
    await making;
    const names = async () => (await first.list(Namespace)).items.map(({ metadata }) => metadata.name);
    await expect.poll(names).toEqual(["default"]);
    expect((await second.list(Machine)).items).toEqual([]);
  }
  expect(refused).toBeGreaterThan(0);
  for (const { operations, store } of servers) {
    await operations.close();
    await store.close();
  }
  await cluster.stop();
});
