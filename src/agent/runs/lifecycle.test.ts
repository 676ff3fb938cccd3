/** When a guest that is to shut down is looked at again, over a pretended one that does not. */
import { describe, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { SteppedClock } from "../../reconcile/testing/stepped-clock.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { MachineId } from "../hypervisor.ts";
import { PretendEnvironment } from "../testing/pretend-environment.ts";
import { PretendHypervisor } from "../testing/pretend-hypervisor.ts";
import { PretendWorld } from "../testing/pretend-world.ts";
import { newId } from "../testing/real-machines.ts";
import { DumpError, Dumps } from "./dumps.ts";
import { Lifecycle } from "./lifecycle.ts";

const clock = new SteppedClock();
/** Its power button takes a while. */
class Slow extends PretendHypervisor {
  takesMs = 0;
  override async powerDown(...[id]: Parameters<PretendHypervisor["powerDown"]>): Promise<boolean> {
    await clock.step(this.takesMs);
    return super.powerDown(id);
  }
}

/** A machine whose guest is to shut down, and does not. */
async function stopping(hypervisor: PretendHypervisor, environment = new PretendEnvironment()) {
  const uid = newId();
  const machine = await hypervisor.start(
    {
      id: uid,
      name: "deaf",
      cpus: 1,
      memory: parseBytes("64Mi"),
      disks: [],
      nics: [],
      accelerator: "tcg",
      user: { uid: 1, gid: 1 },
    },
    "run",
  );
  let instance: Instance = {
    apiVersion: "vireo.dev/v1",
    kind: "Instance",
    metadata: { name: "deaf-1", namespace: "default", uid },
    spec: {
      vm: "deaf",
      vmUid: newId(),
      running: false,
      cpus: 1,
      memory: "64Mi",
      interfaces: [],
      image: "disk",
      storagePool: "default",
    },
  };
  const ends: string[] = [];
  const lifecycle = new Lifecycle(
    {
      host: "a",
      hypervisor,
      environment,
      clock,
      log: silentLogger,
      events: { record: () => undefined },
    },
    30_000,
    async (_, status) => {
      instance = { ...instance, status: { ...instance.status, ...status } };
      return instance;
    },
    async (_, { message }) => {
      ends.push(message);
      return undefined;
    },
  );
  return {
    id: uid,
    ends,
    stop: async () => lifecycle.stop(instance, (await hypervisor.get(uid)) ?? machine),
    /** One step while it is to run. */
    step: async (spec: Partial<Instance["spec"]>, status: Instance["status"]) =>
      lifecycle.step(
        { ...instance, spec: { ...instance.spec, running: true, ...spec }, status },
        (await hypervisor.get(uid)) ?? machine,
        false,
      ),
    told: () => instance.status?.conditions?.find(({ type }) => type === "Ready")?.message,
  };
}

const deafWorld = () => {
  const world = new PretendWorld({ random: () => 0, stepMs: 0, breakage: 0 });
  world.deaf = true;
  return world;
};

it("at half its grace, and at the end of it, however long it took to ask the guest", async () => {
  const hypervisor = new Slow(deafWorld(), "a");
  const { stop, ends } = await stopping(hypervisor);
  hypervisor.takesMs = 10_000;
  expect(await stop()).toEqual({ requeueAfterMs: 5000 });
  hypervisor.takesMs = 0;
  await clock.step(5000);
  expect(await stop()).toEqual({ requeueAfterMs: 15_000 });
  await clock.step(15_000);
  await stop();
  expect(ends).toEqual(["the guest did not shut down within 30 s, and was switched off"]);
});

describe("one that stands still, as there is no room for what it writes", () => {
  class Full extends PretendHypervisor {
    tries = 0;
    hasRoom = false;
    override async resume(id: MachineId): Promise<void> {
      this.tries += 1;
      if (this.hasRoom) await super.resume(id);
    }
  }

  it("has its grace, is tried again every 5 s, and is told as that when it is switched off", async () => {
    const world = deafWorld();
    const hypervisor = new Full(world, "a");
    const { stop, ends, id, told } = await stopping(hypervisor);
    world.set(id, { state: "paused", pausedBy: "storage-full" });
    for (let passed = 0; passed < 30; passed += 5) {
      expect(await stop()).toEqual({ requeueAfterMs: 5000 });
      expect(hypervisor.tries).toBe(1 + passed / 5);
      await clock.step(5000);
    }
    expect(told()).toMatch(/cannot be asked to shut down.*no room in its storage pool/);
    expect(ends).toEqual([]);
    await stop();
    expect(ends).toEqual([
      "the guest could not shut down within 30 s, because it stood still (there is no room in its storage pool for what it writes), and was switched off",
    ]);
  });

  it("is asked as soon as there is room", async () => {
    const world = deafWorld();
    const hypervisor = new Full(world, "a");
    const { stop, ends, id } = await stopping(hypervisor);
    world.set(id, { state: "paused", pausedBy: "storage-full" });
    await stop();
    await clock.step(5000);
    hypervisor.hasRoom = true;
    world.deaf = false;
    await stop();
    expect(world.trace).toContain("deaf power button");
    expect((await hypervisor.get(id))?.state).toBe("ended");
    expect(ends).toEqual([]);
  });
});

it("what a dump needs is what the run has, not what the next one is to have", async () => {
  const needed: number[] = [];
  class Full extends Dumps {
    override async begin(_: string, memoryBytes: number): Promise<string> {
      needed.push(memoryBytes);
      throw new DumpError("pretended: no room");
    }
  }
  const environment = new PretendEnvironment();
  environment.dumps = async () => new Full("/nowhere", { uid: 0, gid: 0 });
  const world = deafWorld();
  const { step, id } = await stopping(new PretendHypervisor(world, "a"), environment);
  world.set(id, { state: "paused", pausedBy: "guest-panicked" });
  const memory = { begun: "128Mi", modules: ["128Mi"], most: "1Gi" };
  await step(
    { memory: "64Mi", onPanic: { dump: true } },
    { has: { ports: 0, disks: [], interfaces: [], memory } },
  );
  expect(needed).toEqual([256 * 2 ** 20]);
});
