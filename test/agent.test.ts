/** What an agent tells of its runs, over the real API and a pretended hypervisor. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { runAgent } from "../src/agent/agent.ts";
import { PretendEnvironment, PretendHypervisor, PretendWorld } from "../src/agent/pretend-hypervisor.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import {
  openControlPlane,
  type TestControlPlane,
  untilObject,
} from "../src/compute/testing/control-plane.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { FACTS } from "./chaos/estate.ts";

const NS = "default";

let plane: TestControlPlane;
let world: PretendWorld;
let environment: PretendEnvironment;
let stop: AbortController;
let agent: Promise<void>;
beforeEach(async () => {
  plane = await openControlPlane();
  world = new PretendWorld({ random: () => 0.5, stepMs: 1, breakage: 0 });
  environment = new PretendEnvironment();
  stop = new AbortController();
  agent = runAgent({
    client: plane.client,
    name: "a",
    hypervisor: new PretendHypervisor(world, "a"),
    environment,
    facts: FACTS,
    capacity: { cpus: 4, memoryBytes: 2 ** 30 },
    address: "10.0.0.1",
    version: "test",
    log: silentLogger,
    signal: stop.signal,
    intervals: { probe: 5, refresh: 100, sweep: 1000, grace: 5 },
  });
});
afterEach(async () => {
  stop.abort();
  await agent;
  await plane.close();
});

/** The machine's first run, bound to this agent's host. */
async function run(spec: Partial<Instance["spec"]> = {}): Promise<void> {
  const { client } = plane;
  const vm = await client.create(VirtualMachine, {
    metadata: { name: "web", namespace: NS },
    spec: { image: "web", memory: "64Mi" },
  });
  await client.updateStatus(VirtualMachine, { ...vm, status: { sequence: 1 } });
  await client.create(Instance, {
    metadata: { name: "web-1", namespace: NS },
    spec: {
      vm: "web",
      vmUid: vm.metadata.uid ?? "",
      memory: "64Mi",
      image: "web",
      interfaces: [],
      host: "a",
      ...spec,
    },
  });
}
const told = (what: string, wanted: (instance: Instance) => boolean) =>
  untilObject(plane.client, Instance, { name: "web-1", namespace: NS }, what, wanted);

it("tells on what accelerator and CPU a run began", async () => {
  await run();
  const { status } = await told("Running", (i) => i.status?.phase === "Running");
  expect(status).toMatchObject({ accelerator: FACTS.qemu.accelerator, cpuModel: FACTS.cpu.model });
});

it("also of a run that waits for its memory", async () => {
  await run({ incoming: true, predecessor: "web-0" });
  const { status } = await told("Incoming", (i) => i.status?.phase === "Incoming");
  expect(status).toMatchObject({ accelerator: FACTS.qemu.accelerator, cpuModel: FACTS.cpu.model });
});
