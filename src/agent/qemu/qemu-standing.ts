/** A guest goes on, or stands still, because somebody says so. Each that says `cont` here has custody of the disks (qemu-hypervisor.ts). */
import { openBelow } from "../../qemu/below.ts";
import { PANIC } from "../../qemu/command-line.ts";
import { keyOf } from "../../qemu/devices.ts";
import { runState } from "../../qemu/migration.ts";
import { stopExports } from "../../qemu/mirror.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import { goOn, pressReset, standStill, wasReset } from "../../qemu/standing.ts";
import type { Logger } from "../../reconcile/log.ts";
import { readHeader } from "../disks/qcow2-head.ts";
import { HypervisorError, type MachineConfig, type MachineId, type PanicAction } from "../hypervisor.ts";
import type { Access } from "./qemu-access.ts";

/** Run states of a guest that does not go on by itself. */
const BROKEN = ["guest-panicked", "watchdog", "internal-error"];

export class Standing {
  readonly #at: Access;
  readonly #log: Logger;

  constructor(at: Access, log: Logger) {
    this.#at = at;
    this.#log = log;
  }

  /** As Hypervisor.resume. */
  async resume(id: MachineId): Promise<void> {
    const found = this.#at.records.need(id);
    const { folder, record } = found;
    await this.#at.with(id, async (qmp) => {
      const status = await runState(qmp);
      if (status === "running" && !record.broke) return;
      if (status === "inmigrate")
        throw new HypervisorError(`${record.config.name}: its memory has not all arrived yet`);
      if (record.exports) await stopExports(qmp);
      if (record.how === "incoming") await openLayersBelow(record.config, qmp);
      if (await this.#at.keepBroken(found, qmp, status)) return;
      // One that broke down before it came here is still broken: it takes its disks, and does not run on.
      if (BROKEN.includes(status)) {
        if (record.how !== "incoming") return;
        await this.#at.takeDisks(found, qmp);
      } else if (!record.paused) await qmp.execute("cont");
      else if (record.how === "incoming" || status === "postmigrate") await this.#at.takeDisks(found, qmp);
      // One that has begun to be kept meanwhile stays held.
      if (record.held)
        folder.update((now) => ({ ...now, held: now.held === record.held ? undefined : now.held }));
      if (record.how !== "incoming") return;
      // Tells the switches where the machine's addresses are now; a few times, because the first may be lost. One without a link does it when it has one.
      if (!record.disconnected)
        await qmp
          .execute("announce-self", { initial: 20, max: 400, rounds: 5, step: 60 })
          .catch((error: unknown) => this.#log.warn("hypervisor.announce", { id, error }));
      folder.update((now) => ({ ...now, how: "run", exports: undefined }));
    });
  }

  /** As Hypervisor.setPaused. */
  async setPaused(id: MachineId, paused: boolean): Promise<void> {
    const { folder, record, process } = this.#at.records.need(id);
    if (Boolean(record.paused) !== paused) folder.update((now) => ({ ...now, paused: paused || undefined }));
    // One that waits for custody, or is being sent or kept, is as it was told once that is over.
    if (!process || record.how === "incoming" || record.held) return;
    await this.#at.with(id, async (qmp) => {
      if (record.broke && (await this.#at.standsBroken(id, qmp, await runState(qmp)))) return;
      await (paused ? standStill(qmp) : goOn(qmp));
    });
  }

  /** As Hypervisor.setOnPanic. */
  async setOnPanic(id: MachineId, action: PanicAction): Promise<void> {
    const { folder, record } = this.#at.records.need(id);
    if ((record.onPanic ?? "end") === action) return;
    await this.#at.with(id, (qmp) => qmp.execute("set-action", { panic: PANIC[action] }));
    folder.update((now) => ({ ...now, onPanic: action }));
  }

  /** As Hypervisor.reset. */
  async reset(id: MachineId, request: string): Promise<void> {
    const { folder, record } = this.#at.records.need(id);
    const { reset = { request, atMs: Date.now() }, held, paused } = record;
    const begun = reset.request === request ? reset : { request, atMs: Date.now() };
    const isDone = record.reset === begun && wasReset(folder.journal(), begun.atMs);
    folder.update((now) => ({ ...now, reset: begun }));
    await this.#at.with(id, async (qmp) => {
      if (!isDone) await pressReset(qmp);
      folder.update((now) => ({ ...now, broke: undefined }));
      if (!held && !paused) await goOn(qmp);
    });
  }
}

/** Disks that came along layer by layer, whose layers are all there now. */
async function openLayersBelow({ disks, firmware }: MachineConfig, qmp: Qmp): Promise<void> {
  const all = [
    ...disks.map((disk, i) => ({ disk, key: keyOf(disk, i) })),
    ...(firmware ? [{ disk: firmware.variables, key: "-vars" }] : []),
  ];
  for (const { disk, key } of all) {
    const { backing: path, backingFormat: format = "qcow2" } = disk.apart ? await readHeader(disk.path) : {};
    if (path) await openBelow(qmp, disk, key, { path, format });
  }
}
