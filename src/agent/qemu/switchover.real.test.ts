/** The last of a live migration, in which the guest stands still, over a network that is slow or lets nothing through any more. */
import { afterEach, expect, it } from "vitest";
import type { MachineId, SendOptions } from "../hypervisor.ts";
import { inState, newId, RealMachines, until } from "../testing/real-machines.ts";
import { SlowLink } from "../testing/slow-link.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";

const machines = new RealMachines();
let source: QemuHypervisor;
let target: QemuHypervisor;
let here: MachineId;
let there: MachineId;
let link: SlowLink | undefined;
afterEach(() => link?.close());

const FAST = 2 ** 40;
const STALLED = "nothing could be sent for 10000 ms, while the guest stood still";

/** Begins to send a guest; what it writes meanwhile is left for when it stands still. */
async function sends(guest: "busy" | "hungry", how?: SendOptions): Promise<SlowLink> {
  source = machines.hypervisor("a");
  target = machines.hypervisor("b");
  const config = machines.machine(guest);
  here = config.id;
  there = newId();
  const { machineType } = await machines.start(source, config);
  await machines.start(target, { ...config, id: there, machineType }, "incoming");
  link = await SlowLink.open(await target.listen(there, "127.0.0.1"), FAST);
  await source.migrate(here, link.address, how);
  return link;
}

const comesTo = (wanted: string) =>
  until(async () => {
    const now = await source.migration(here);
    return ["failed", "cancelled", wanted].includes(now.phase) ? now : undefined;
  }, 40_000);

it("takes as long as it has to, while it gets on", async () => {
  const slow = await sends("hungry");
  expect(await comesTo("pre-switchover")).toMatchObject({ phase: "pre-switchover" });
  // 32 MiB are left.
  slow.speed = 2_500_000;
  const begun = performance.now();
  expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
  expect(performance.now() - begun).toBeGreaterThan(11_000);
  await inState(target, there, "paused");
  await target.resume(there);
  await inState(target, there, "running");
}, 90_000);

it.each([
  { guest: "hungry", what: "QEMU cannot even give to the kernel what is left, and answers nothing" },
  { guest: "busy", what: "only the target's last word is missing" },
] as const)(
  "is broken off when nothing gets on any more, and says so: $what",
  async ({ guest }) => {
    const dead = await sends(guest);
    expect(await comesTo("pre-switchover")).toMatchObject({ phase: "pre-switchover" });
    dead.speed = 0;
    expect(await source.switchover(here)).toMatchObject({ phase: "failed", error: STALLED });
    await inState(source, here, "running");
    expect(await target.get(there)).toMatchObject({ state: "incoming" });
  },
  90_000,
);

it("is broken off as well when it was to begin by itself", async () => {
  const dead = await sends("busy", { switchesOver: true });
  dead.speed = 0;
  expect(await comesTo("failed")).toMatchObject({ phase: "failed", error: STALLED });
  await inState(source, here, "running");
}, 90_000);
