import { beforeEach, expect, it, vi } from "vitest";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance } from "../../compute/kinds.ts";
import { Network } from "../../compute/networks/kinds.ts";
import { openControlPlane } from "../../compute/testing/control-plane.ts";
import { Informer } from "../../reconcile/informer.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { instanceOf } from "../testing/volumes.ts";
import { HostNetworks } from "./host-networks.ts";

beforeEach(() => {
  // Without root there are no taps.
  const root = vi.spyOn(process, "getuid").mockReturnValue(0);
  return () => root.mockRestore();
});

it("nothing is made of a network before it is known which hosts and machines it has", async () => {
  const { client, close } = await openControlPlane();
  const stop = new AbortController();
  const spec = { subnet: "10.1.0.0/24" };
  await client.create(Network, { metadata: { name: "lan" }, spec });
  await client.create(Host, { metadata: { name: "b" }, spec: {} });
  await client.patch(Host, { name: "b" }, { status: { address: "10.0.0.2" } }, { subresource: "status" });
  const made: unknown[] = [];
  const networking = {
    ensure: async () => undefined,
    ensureKnown: async (_: Network, peers: readonly string[]) => void made.push(peers),
    ensureTap: async () => "tap",
    removeTap: async () => undefined,
    guard: async () => void made.push("guard"),
    remove: async () => undefined,
    traces: async () => [],
  };
  const informers = {
    hosts: new Informer(client, Host),
    networks: new Informer(client, Network),
    instances: new Informer(client, Instance, { fieldSelector: "spec.host=a" }),
  };
  const networks = new HostNetworks({ client, networking, log: silentLogger }, informers);
  const nic = { network: "lan", mac: "52:54:00:00:00:01", address: "10.1.0.2" };
  const nics = () => networks.nics(instanceOf({ interfaces: [nic] }), { uid: 1, gid: 1 });
  await networks.guard();
  await expect(nics()).rejects.toMatchObject({ reason: "ServiceUnavailable" });
  expect(made).toEqual([]);
  for (const informer of Object.values(informers)) void informer.run(stop.signal);
  await Promise.all(Object.values(informers).map(({ synced }) => synced));
  await networks.start(stop.signal);
  await nics();
  expect(made).toEqual(["guard", ["10.0.0.2"]]);
  stop.abort();
  await close();
});
