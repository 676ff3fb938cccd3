/** Quotas where no single process sees all writes: two API servers on one etcd; and as people see them, by kubectl. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { LocalClient } from "../api/local.ts";
import { Namespace } from "../api/namespaces.ts";
import { Operations } from "../api/operations.ts";
import { KUBECTLS, Kubectl } from "../api/testing/kubectl.ts";
import { startApiStack } from "../api/testing/stack.ts";
import { KINDS } from "../kinds.ts";
import { systemClock } from "../reconcile/clock.ts";
import { silentLogger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { openEtcdStore } from "../store/etcd.ts";
import { type EtcdCluster, startEtcd } from "../store/testing/etcd.ts";
import { VirtualMachine } from "./kinds.ts";
import { ResourceQuota } from "./quota.ts";
import { runQuotaReconciler } from "./quota-reconciler.ts";

let cluster: EtcdCluster;
beforeAll(async () => {
  cluster = await startEtcd();
});
afterAll(() => cluster.stop());

it("two servers on one store let in no more than fits, while the quota's status changes all the time", async () => {
  const servers = await Promise.all(
    [0, 1].map(async () => {
      const store = await openEtcdStore({ endpoints: cluster.endpoints, root: "/vireo" });
      const operations = await Operations.open(store, KINDS);
      return { store, operations, client: new LocalClient(operations) };
    }),
  );
  const [first, second] = servers.map(({ client }) => client);
  if (!first || !second) throw new Error("two servers");
  await first.create(Namespace, { metadata: { name: "shop" }, spec: {} });
  const stop = new AbortController();
  const running = runQuotaReconciler({
    client: first,
    clock: systemClock,
    log: silentLogger,
    signal: stop.signal,
  });
  await first.create(ResourceQuota, {
    metadata: { name: "ten", namespace: "shop" },
    spec: { hard: { "requests.cpu": 20 } },
  });
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      [first, second][i % 2]
        ?.create(VirtualMachine, {
          metadata: { name: `m${i}`, namespace: "shop" },
          spec: { cpus: 2, memory: "64Mi", image: "web" } as VirtualMachine["spec"],
        })
        .then(
          () => "in",
          (error: unknown) => (isApiError(error) ? error.reason : String(error)),
        ),
    ),
  );
  const { items } = await second.list(VirtualMachine);
  const counts = Object.groupBy(answers, (answer) => String(answer));
  expect(items).toHaveLength(10);
  expect(counts.in).toHaveLength(10);
  expect(counts.Forbidden).toHaveLength(50);
  stop.abort();
  await running;
  for (const { operations, store } of servers) {
    await operations.close();
    await store.close();
  }
});

it.each(KUBECTLS)("%s: create, get, describe and apply a quota; what does not fit is told", async (path) => {
  await using stack = await startApiStack();
  const kubectl = new Kubectl(path, stack);
  const stop = new AbortController();
  const client = new LocalClient(stack.service);
  const running = runQuotaReconciler({ client, clock: systemClock, log: silentLogger, signal: stop.signal });
  const hard = "count/virtualmachines.vireo.dev=3,requests.cpu=4,requests.memory=1Gi";
  expect(await kubectl.ok("create", "quota", "small", `--hard=${hard}`)).toBe(
    "resourcequota/small created\n",
  );
  const vm = (name: string, cpus: number) =>
    kubectl.manifest(
      name,
      `apiVersion: vireo.dev/v1\nkind: VirtualMachine\nmetadata: {name: ${name}}\nspec: {cpus: ${cpus}, memory: 256Mi, image: a}\n`,
    );
  await kubectl.ok("apply", "-f", vm("a", 3));
  expect(await kubectl.fails("apply", "-f", vm("b", 2))).toMatch(
    /\(Forbidden\).*virtualmachines.vireo.dev "b" is forbidden: exceeded quota: small, requested: requests.cpu=2, used: requests.cpu=3, limited: requests.cpu=4/,
  );
  await expect
    .poll(() => kubectl.ok("get", "quota"))
    .toMatch(
      /NAME +REQUEST +AGE\nsmall +count\/virtualmachines.vireo.dev: 1\/3, requests.cpu: 3\/4, requests.memory: 256Mi\/1Gi/,
    );
  const described = await kubectl.ok("describe", "quota", "small");
  expect(described).toMatch(/count\/virtualmachines.vireo.dev +1 +3/);
  expect(described).toMatch(/requests.memory +256Mi +1Gi/);
  expect(await kubectl.ok("describe", "namespace", "default")).toMatch(/requests.cpu +3 +4/);
  // A number without quotes, as people write it.
  const file = kubectl.manifest(
    "big",
    "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: big}\nspec: {hard: {requests.cpu: 7}}\n",
  );
  expect(await kubectl.ok("apply", "-f", file)).toBe("resourcequota/big created\n");
  expect(await kubectl.ok("apply", "-f", file)).toBe("resourcequota/big unchanged\n");
  await kubectl.ok("patch", "quota", "small", "-p", '{"spec":{"hard":{"requests.cpu":"6"}}}');
  await kubectl.ok("apply", "-f", vm("b", 2));
  // The project's own administrator sees the limits, and does not set them.
  await kubectl.ok("create", "rolebinding", "eve", "--clusterrole=admin", "--user=eve");
  await kubectl.ok("get", "quota", "small", "--as=eve");
  expect(await kubectl.fails("delete", "quota", "small", "--as=eve")).toContain("Forbidden");
  stop.abort();
  await running;
  expect(stack.errors).toEqual([]);
});
