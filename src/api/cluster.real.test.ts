/** Several API servers on one etcd: what each tells its clients holds for the others' clients, too. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Lease } from "../reconcile/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import { type Kind, register } from "../resource/kind.ts";
import { openEtcdStore } from "../store/etcd.ts";
import type { Store } from "../store/store.ts";
import { type EtcdCluster, startEtcd } from "../store/testing/etcd.ts";
import { LocalClient } from "./local.ts";
import { Operations } from "./operations.ts";
import { at, failure, Machine, machineKind } from "./testing/machines.ts";

/** At most one machine is Held at a time. */
const onlyOneHolder: Kind<Machine>["check"] = (object, old, lookup) => {
  if (object.status?.phase !== "Held" || old?.status?.phase === "Held") return [];
  const held = lookup.list(Machine).some(({ metadata, status }) => {
    return metadata.name !== object.metadata.name && status?.phase === "Held";
  });
  return held ? [{ field: "status.phase", reason: "FieldValueForbidden", message: "another one holds" }] : [];
};

let cluster: EtcdCluster;
let servers: { store: Store; operations: Operations; client: LocalClient }[] = [];
let roots = 0;

beforeAll(async () => {
  cluster = await startEtcd();
});
afterAll(async () => {
  await close();
  await cluster.stop();
});
async function close(): Promise<void> {
  for (const { store, operations } of servers) {
    await operations.close();
    await store.close();
  }
}
beforeEach(async () => {
  await close();
  const root = `/vireo-${++roots}`;
  servers = await Promise.all(
    [0, 1, 2].map(async () => {
      const store = await openEtcdStore({ endpoints: cluster.endpoints, root });
      const operations = await Operations.open(store, [
        register(Machine, { check: onlyOneHolder }),
        register(Lease),
      ]);
      return { store, operations, client: new LocalClient(operations) };
    }),
  );
});
const client = (i: number): LocalClient => {
  const server = servers[i % servers.length];
  if (!server) throw new Error("no server");
  return server.client;
};
const create = (i: number, name: string, metadata = {}) =>
  client(i).create(Machine, { metadata: { ...at(name), ...metadata }, spec: { memory: "64Mi" } });

it("reads do not wait for a change of ours when the newest write in etcd is somebody else's", async () => {
  await create(0, "a");
  const neighbour = await openEtcdStore({ endpoints: cluster.endpoints, root: "/neighbour" });
  for (let i = 0; i < 5; i++) {
    const { revision } = await neighbour.commit({ key: `x/${i}`, value: "", expected: 0 });
    const begun = performance.now();
    const { items, resourceVersion } = await client(1).list(Machine);
    expect(items).toHaveLength(1);
    expect(performance.now() - begun).toBeLessThan(2000); // 3 s is when a server gives up
    expect(Number(resourceVersion)).toBeGreaterThanOrEqual(revision);
    // What one server has told of, the others know, too.
    const listed = await servers[2]?.operations.list(machineKind, { resourceVersion });
    expect(listed?.items).toHaveLength(1);
  }
  await neighbour.close();
});

it("reads through one see at once what was written through another", async () => {
  for (let i = 0; i < 30; i++) {
    await create(i, `m${i}`);
    expect((await client(i + 1).get(Machine, at(`m${i}`)))?.metadata.name).toBe(`m${i}`);
    expect((await client(i + 2).list(Machine)).items).toHaveLength(i + 1);
    await client(i + 1).patch(Machine, at(`m${i}`), { metadata: { labels: { seen: "yes" } } });
  }
});

it("a name is given once, and a stale update is refused, whoever is asked", async () => {
  const made = await Promise.allSettled([0, 1, 2, 3, 4, 5].map((i) => create(i, "one")));
  expect(made.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const result of made)
    if (result.status === "rejected") expect(isApiError(result.reason, "AlreadyExists")).toBe(true);
  const [old] = (await client(0).list(Machine)).items;
  if (!old) throw new Error("nothing was made");
  // What one server has just answered is good for an update through another.
  const newer = await client(1).update(Machine, {
    ...old,
    metadata: { ...old.metadata, labels: { a: "b" } },
  });
  const newest = await client(2).update(Machine, {
    ...newer,
    metadata: { ...newer.metadata, labels: { a: "c" } },
  });
  expect(newest.metadata.labels).toEqual({ a: "c" });
  const error = await failure(
    client(0).update(Machine, { ...newer, metadata: { ...newer.metadata, labels: {} } }),
  );
  expect(error.reason).toBe("Conflict");
});

it("patches without a precondition all come about", async () => {
  await create(0, "counted");
  await Promise.all(
    Array.from({ length: 24 }, (_, i) =>
      client(i).patch(Machine, at("counted"), { metadata: { labels: { [`l${i}`]: "x" } } }),
    ),
  );
  const counted = await client(1).get(Machine, at("counted"));
  expect(Object.keys(counted?.metadata.labels ?? {})).toHaveLength(24);
});

it("rules across objects hold, though each server checks them by itself", async () => {
  const names = ["a", "b", "c", "d", "e", "f"];
  await Promise.all(names.map((name, i) => create(i, name)));
  const { resourceVersion } = await client(0).list(Machine);
  const holders = new Set<string>();
  let most = 0;
  let claims = 0;
  const stop = await servers[0]?.operations.watch(register(Machine), { resourceVersion }, (event) => {
    if (event.type === "BOOKMARK") return;
    const { name } = event.object.metadata;
    if (JSON.stringify(event.object.status) === '{"phase":"Held"}') holders.add(name);
    else holders.delete(name);
    most = Math.max(most, holders.size);
  });
  const set = (i: number, name: string, phase: string) =>
    client(i).patch(Machine, at(name), { status: { phase } }, { subresource: "status" });
  await Promise.all(
    names.map(async (name, i) => {
      for (let round = 0; round < 15; round++) {
        const got = await set(i + round, name, "Held").then(
          () => true,
          () => false,
        );
        if (got) claims++;
        await set(i, name, "Released");
      }
    }),
  );
  stop?.();
  expect(most).toBe(1);
  expect(claims).toBeGreaterThan(5);
});

it("what was owned goes with its owner, through whichever server each was made", async () => {
  const owner = await create(0, "owner");
  const { apiVersion, kind } = owner;
  const ownerReferences = [{ apiVersion, kind, name: "owner", uid: owner.metadata.uid ?? "" }];
  await create(1, "child", { ownerReferences });
  await Promise.all([
    client(2).delete(Machine, at("owner")),
    ...[0, 1, 2].map((i) => create(i, `late-${i}`, { ownerReferences }).catch(() => undefined)),
  ]);
  const deadline = Date.now() + 10_000;
  for (;;) {
    const { items } = await client(0).list(Machine);
    if (items.length === 0) break;
    if (Date.now() > deadline)
      throw new Error(`left: ${items.map(({ metadata }) => metadata.name).join(", ")}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

it("a revision that one server told is never of the future for another", async () => {
  for (let i = 0; i < 20; i++) {
    const { metadata } = await create(i, `m${i}`);
    const { items } = (await servers[(i + 1) % 3]?.operations.list(machineKind, {
      resourceVersion: metadata.resourceVersion ?? "",
    })) ?? { items: [] };
    expect(items).toHaveLength(i + 1);
  }
});
