/** The client of the server's own process: who changes nothing gets what the server has, all others copies of their own. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Network } from "../compute/networks/kinds.ts";
import { openControlPlane, type TestControlPlane, until } from "../compute/testing/control-plane.ts";
import { Informer } from "../reconcile/informer.ts";

let plane: TestControlPlane;
beforeAll(async () => {
  plane = await openControlPlane();
  await plane.client.create(Network, { metadata: { name: "a" }, spec: { subnet: "10.1.0.0/24" } });
});
afterAll(() => plane.close());

it("gives those who share what the server has, and all others copies of their own", async () => {
  const { client } = plane;
  const stop = new AbortController();
  const informers = [new Informer(client, Network), new Informer(client, Network)];
  const runs = informers.map((informer) => informer.run(stop.signal));
  await Promise.all(informers.map(({ synced }) => synced));
  const shared = async () => (await client.list(Network, { shared: true })).items[0];
  const first = await shared();
  const served = plane.service.kinds.find(({ kind }) => kind === Network.kind);
  expect(served && (await plane.service.get(served, undefined, "a"))).toBe(first);
  expect(informers.map((informer) => informer.get("a") === first)).toEqual([true, true]);
  // Of a test's control plane: whoever changes what is shared fails.
  expect(Object.isFrozen(first?.spec)).toBe(true);

  const own = (await client.list(Network)).items[0];
  const { managedFields: _, ...metadata } = first?.metadata ?? { name: "" };
  expect(own).toEqual({ ...first, metadata });
  expect(own).not.toBe(first);
  if (own) own.spec.subnet = "changed by the caller";
  expect((await shared())?.spec.subnet).toBe("10.1.0.0/24");

  await client.patch(Network, { name: "a" }, { metadata: { labels: { v: "2" } } });
  const seen = () => informers.map((informer) => informer.get("a"));
  await until("the change at both", async () =>
    seen().every((network) => network?.metadata.labels?.v === "2"),
  );
  expect(seen()[0]).toBe(seen()[1]);
  stop.abort();
  await Promise.all(runs);
});
