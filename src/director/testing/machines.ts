/** Machines and their runs as the API has them, for tests of how the director sees them. */
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";

const apiVersion = "vireo.dev/v1" as const;

export const vm = (
  name: string,
  spec: Partial<VirtualMachine["spec"]> = {},
  host?: string,
): VirtualMachine => ({
  apiVersion,
  kind: "VirtualMachine",
  metadata: { name, namespace: "default", uid: `uid-${name}` },
  spec: {
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    networks: [],
    restart: "Always",
    ...spec,
  },
  ...(host ? { status: { host } } : {}),
});

export const run = (name: string, host: string, spec: Partial<Instance["spec"]> = {}): Instance => ({
  apiVersion,
  kind: "Instance",
  metadata: { name: `${name}-1`, namespace: "default", uid: `uid-${name}-1`, labels: { tier: name } },
  spec: {
    vm: name,
    vmUid: `uid-${name}`,
    cpus: 2,
    memory: "128Mi",
    image: "web",
    storagePool: "default",
    interfaces: [],
    running: true,
    host,
    ...spec,
  },
  status: { custody: "Held", phase: "Running" },
});
