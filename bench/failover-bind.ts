/** What the server's last word on failover capacity costs when a machine gets its host, on a real control plane with all of an estate stored in it. */
import type { Client } from "../src/client/client.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Network } from "../src/compute/networks/kinds.ts";
import { StoragePool } from "../src/compute/storage/kinds.ts";
import { openControlPlane } from "../src/compute/testing/control-plane.ts";
import { createImage, declaredFacts } from "../src/compute/testing/estate.ts";
import type { Estate, HostView, MachineView } from "../src/director/estate/estate.ts";
import type { Policy } from "../src/director/kinds.ts";
import type { Resource } from "../src/resource/object.ts";

const BINDS = 60;
const WARM = 10;
/** Of the agents' reports, between two binds. */
const REPORTS = 20;
const NAMESPACE = "default";

/** @returns CPU of a bind in milliseconds, of all threads of this process, the store's included: the mean, since clocks of CPU time are coarse */
export async function binds(estate: Estate, newcomers: readonly { machine: MachineView; host: string }[]) {
  const plane = await openControlPlane();
  const { client, store } = plane;
  try {
    await client.create(StoragePool, {
      metadata: { name: "default" },
      spec: { directory: { path: "/pool", shared: true } },
    });
    await client.create(Network, { metadata: { name: "default" }, spec: { subnet: "10.0.0.0/8" } });
    await createImage(client);
    const vm = await machineOf(client, "template", 1, {});
    const run = await runOf(client, vm);
    const put = (plural: string, object: Resource) => {
      const { metadata, ...rest } = object;
      const { resourceVersion: _, ...stored } = metadata;
      const place = metadata.namespace ? `${metadata.namespace}/` : "";
      const value = JSON.stringify({ ...rest, metadata: stored });
      return store.commit({ key: `${plural}/${place}${metadata.name}`, value, expected: 0 });
    };
    const all: Promise<unknown>[] = estate.hosts.map((host) => put("hosts", hostObject(host)));
    for (const policy of estate.policies) all.push(put("policies", policyObject(policy)));
    for (const machine of estate.machines) {
      if (machine.host === undefined) continue;
      const { name, labels } = machine;
      const memory = `${machine.memoryBytes / 2 ** 20}Mi`;
      const wanted = { cpus: machine.cpus, memory };
      all.push(
        put("virtualmachines", {
          ...vm,
          metadata: { ...vm.metadata, name, labels, uid: `vm ${name}` },
          spec: { ...vm.spec, ...wanted },
        } as Resource),
        put("instances", {
          ...run,
          metadata: { ...run.metadata, name: `${name}-1`, labels, uid: `run ${name}` },
          spec: { ...run.spec, ...wanted, vm: name, vmUid: `vm ${name}`, host: machine.host },
          status: { custody: "Held", phase: "Running" },
        } as Resource),
      );
    }
    await Promise.all(all);
    let cpuMs = 0;
    for (const [i, { machine, host }] of newcomers.slice(0, BINDS + WARM).entries()) {
      const memory = machine.memoryBytes / 2 ** 20;
      const made = await machineOf(client, machine.name, machine.cpus, machine.labels, memory);
      const { metadata } = await runOf(client, made);
      for (let r = 0; r < REPORTS; r++) {
        const name = `${estate.machines[(i * REPORTS + r) % estate.machines.length]?.name}-1`;
        await report(client, name, i + 1);
      }
      const before = process.cpuUsage();
      await client.patch(
        Instance,
        { name: metadata.name, namespace: NAMESPACE },
        { spec: { host, placement: { reason: "bench" } } },
      );
      const { user, system } = process.cpuUsage(before);
      if (i >= WARM) cpuMs += (user + system) / 1000;
    }
    return cpuMs / BINDS;
  } finally {
    await plane.close();
  }
}

const report = async (client: Client, name: string, pid: number) => {
  if (await client.get(Instance, { name, namespace: NAMESPACE }))
    await client.patch(
      Instance,
      { name, namespace: NAMESPACE },
      { status: { pid } },
      { subresource: "status" },
    );
};

const machineOf = (
  client: Client,
  name: string,
  cpus: number,
  labels: Record<string, string>,
  memoryMiB = 64,
) =>
  client.create(VirtualMachine, {
    metadata: { name, namespace: NAMESPACE, labels },
    spec: { image: "web", cpus, memory: `${memoryMiB}Mi` },
  });

const runOf = async (client: Client, { metadata, spec }: VirtualMachine) => {
  const at = { name: metadata.name, namespace: NAMESPACE };
  await client.patch(VirtualMachine, at, { status: { sequence: 1 } }, { subresource: "status" });
  return client.create(Instance, {
    metadata: { name: `${metadata.name}-1`, namespace: NAMESPACE, labels: metadata.labels ?? {} },
    spec: {
      vm: metadata.name,
      vmUid: metadata.uid ?? "",
      image: spec.image ?? "",
      cpus: spec.cpus,
      memory: spec.memory,
      storagePool: spec.storagePool,
      interfaces: [],
    },
  });
};

const hostObject = ({ name, rack, cpus, memoryBytes }: HostView): Host => ({
  apiVersion: "vireo.dev/v1",
  kind: Host.kind,
  metadata: { name, uid: `host ${name}` },
  spec: { rack },
  status: {
    facts: declaredFacts(name),
    capacity: { cpus, memory: `${memoryBytes / 2 ** 20}Mi` },
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "Bench",
        message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z",
      },
    ],
  },
});

const policyObject = (policy: Policy): Policy => ({
  ...policy,
  metadata: { ...policy.metadata, uid: `policy ${policy.metadata.name}`, generation: 1 },
});
