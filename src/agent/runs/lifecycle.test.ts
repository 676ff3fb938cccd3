/** When a guest that is to shut down is looked at again, over a pretended one that does not. */
import { expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { SteppedClock } from "../../reconcile/testing/stepped-clock.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { PretendEnvironment } from "../testing/pretend-environment.ts";
import { PretendHypervisor } from "../testing/pretend-hypervisor.ts";
import { PretendWorld } from "../testing/pretend-world.ts";
import { newId } from "../testing/real-machines.ts";
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

it("at half its grace, and at the end of it, however long it took to ask the guest", async () => {
  const world = new PretendWorld({ random: () => 0, stepMs: 0, breakage: 0 });
  world.deaf = true;
  const hypervisor = new Slow(world, "a");
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
      environment: new PretendEnvironment(),
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
  hypervisor.takesMs = 10_000;
  expect(await lifecycle.stop(instance, machine)).toEqual({ requeueAfterMs: 5000 });
  hypervisor.takesMs = 0;
  await clock.step(5000);
  expect(await lifecycle.stop(instance, machine)).toEqual({ requeueAfterMs: 15_000 });
  await clock.step(15_000);
  await lifecycle.stop(instance, machine);
  expect(ends).toEqual(["the guest did not shut down within 30 s, and was switched off"]);
});
