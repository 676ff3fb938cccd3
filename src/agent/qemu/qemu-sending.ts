/**
 * The source's side of a live migration at one QEMU, and how long its guest stands still for it (record.held: written before it is stopped, gone
 * once it runs again, so that an agent which dies in between leaves nothing standing).
 */
import { nodeNames } from "../../qemu/block-nodes.ts";
import { TODAY } from "../../qemu/board.ts";
import { keyOf } from "../../qemu/devices.ts";
import { canTrackWrites, flushTlbs } from "../../qemu/dirty-tracking.ts";
import {
  cancelOutgoing,
  continueSwitchover,
  isHeldBack,
  isUnderWay,
  type MigrationStatus,
  outgoingBegun,
  queryMigration,
  runState,
  sendAtLast,
  startOutgoing,
  startPostCopy,
} from "../../qemu/migration.ts";
import {
  abandonMirrors,
  finishMirrors,
  listMirrors,
  queryMirrors,
  sendsBitmaps,
  startMirrors,
} from "../../qemu/mirror.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import type { Broke } from "../../qemu/standing.ts";
import { limitWrites, setLimits } from "../../qemu/throttle.ts";
import { mirrorsOf } from "../disks/disk-copies.ts";
import {
  type DiskConfig,
  type DiskProgress,
  type DiskTarget,
  HypervisorError,
  type MachineId,
  type MigrationProgress,
  type SendOptions,
} from "../hypervisor.ts";
import type { Outward } from "../network/outward.ts";
import type { Access } from "./qemu-access.ts";
import type { MachineRecord } from "./qemu-record.ts";
import { progressOf } from "./qemu-state.ts";

/** How long a target may take to connect, proofs of identity included. A guest under TCG stands still meanwhile. */
const BEGIN_MS = 5000;

const BROKE: Readonly<Record<Broke["by"], string>> = {
  "guest-panicked": "its guest's kernel has panicked",
  watchdog: "its guest did not feed its watchdog",
};

export class Sending {
  readonly #at: Access;
  readonly #bandwidth: number | undefined;
  readonly #outward: Outward | undefined;

  /** @param bandwidth bytes per second of those that say none @param outward where QEMUs reach nothing without it */
  constructor(at: Access, bandwidth: number | undefined, outward: Outward | undefined) {
    this.#at = at;
    this.#bandwidth = bandwidth;
    this.#outward = outward;
  }

  /** As Hypervisor.migrate. */
  async migrate(id: MachineId, address: string, how: SendOptions): Promise<void> {
    const found = this.#at.records.need(id);
    const { folder, record } = found;
    const { accelerator, hardware = TODAY, name } = record.config;
    const { tlsHostname, downtimeMs } = how;
    const bandwidth = how.bytesPerSecond ?? this.#bandwidth;
    await this.#at.with(id, async (qmp) => {
      // Bitmaps are sent at the very end only, and would never let the one pass end.
      const tracked = accelerator === "tcg" && canTrackWrites(hardware.board) && !(await sendsBitmaps(qmp));
      const status = await runState(qmp);
      let isHeld = record.held === "migration" && status === "paused";
      const stands = record.paused && (status === "paused" || status === "prelaunch");
      if (!isHeld && !stands && !["running", "finish-migrate", "postmigrate"].includes(status))
        throw new HypervisorError(
          `${name} cannot be migrated: it is ${status}, only a running machine moves`,
        );
      // For whoever listens to QEMU while it is sent (qemu-monitors.ts), also after a restart.
      const { switchesOver } = how;
      if (record.maxDowntimeMs !== downtimeMs || record.switchesOver !== switchesOver) {
        folder.update((now) => ({ ...now, maxDowntimeMs: downtimeMs, switchesOver }));
      }
      const hold = async () => {
        folder.update((now) => ({ ...now, held: "migration" }));
        isHeld = true;
        await qmp.execute("stop");
      };
      try {
        // A guest whose writes cannot be tracked stands still from the first byte to the last.
        if (accelerator === "tcg" && !tracked && !(await isUnderWay(qmp))) await hold();
        await this.#outward?.allow(record.config.user.uid, address);
        await this.#at.withCredentials(found, async (tls) => {
          await startOutgoing(qmp, {
            uri: address,
            ...(tls ? { tls } : {}),
            ...(tlsHostname ? { hostname: tlsHostname } : {}),
            ...(bandwidth ? { bandwidth } : {}),
            ...(downtimeMs ? { maxDowntimeMs: downtimeMs } : {}),
            onePass: tracked,
            heldBack: tracked,
            ...(how.postCopy ? { postCopy: true } : {}),
          });
          if (isHeld || tracked) await outgoingBegun(qmp, BEGIN_MS);
        });
        if (!tracked) return;
        if (!(await isHeldBack(qmp))) return await this.letGoOn(id, qmp, ["paused"]);
        await hold();
        await flushTlbs(qmp, hardware.board);
        await this.letGoOn(id, qmp, ["paused"]);
        await sendAtLast(qmp, bandwidth);
      } catch (error) {
        // A guest that ran on while memory is sent which has not been tracked would arrive with old words.
        await cancelOutgoing(qmp);
        await this.letGoOn(id, qmp, ["paused"]);
        throw error;
      }
    });
  }

  /** As Hypervisor.copyDisks. */
  async copyDisks(id: MachineId, to: DiskTarget): Promise<void> {
    const found = this.#at.records.need(id);
    const { address, tlsHostname: hostname, bytesPerSecond: bandwidth } = to;
    const { config } = found.record;
    const mirrors = mirrorsOf(config, to.besides, to.linked);
    await this.#outward?.allow(config.user.uid, address);
    await this.#at.with(id, (qmp) =>
      this.#at.withCredentials(found, (tls) =>
        startMirrors(qmp, {
          address,
          mirrors,
          ...(tls ? { tls } : {}),
          ...(hostname ? { hostname } : {}),
          ...(bandwidth ? { bandwidth } : {}),
        }),
      ),
    );
  }

  diskCopies(id: MachineId): Promise<DiskProgress> {
    return this.#at.with(id, queryMirrors);
  }

  finishDiskCopies(id: MachineId): Promise<void> {
    return this.#at.with(id, finishMirrors);
  }

  leftCopies(id: MachineId): Promise<string[]> {
    return this.#at.with(id, listMirrors);
  }

  /** As Hypervisor.abandonDiskCopies: its writes first, of which nothing but its record tells. */
  async abandonDiskCopies(id: MachineId): Promise<void> {
    const { folder, record } = this.#at.records.need(id);
    await this.#at.with(id, async (qmp) => {
      if (record.slowed) {
        await eachWritable(qmp, record, (key, { limits }) => setLimits(qmp, key, limits));
        folder.update((now) => ({ ...now, slowed: undefined }));
      }
      await abandonMirrors(qmp);
    });
  }

  /** As Hypervisor.slowWrites. */
  async slowWrites(id: MachineId, bytesPerSecond: number): Promise<void> {
    const { folder, record } = this.#at.records.need(id);
    folder.update((now) => ({ ...now, slowed: true }));
    await this.#at.with(id, async (qmp) => {
      let disks = 0;
      await eachWritable(qmp, record, async () => {
        disks++;
      });
      const each = Math.ceil(bytesPerSecond / Math.max(1, disks));
      await eachWritable(qmp, record, (key, { limits }) => limitWrites(qmp, key, limits, each));
    });
  }

  startPostCopy(id: MachineId): Promise<void> {
    return this.#at.with(id, startPostCopy);
  }

  migration(id: MachineId): Promise<MigrationProgress> {
    return this.#at.with(id, async (qmp) => this.#progress(id, qmp, await queryMigration(qmp)));
  }

  async switchover(id: MachineId): Promise<MigrationProgress> {
    const { pid } = this.#at.records.alive(id).process;
    return this.#at.with(id, async (qmp) => this.#progress(id, qmp, await continueSwitchover(qmp, pid)));
  }

  cancel(id: MachineId): Promise<void> {
    return this.#at.with(id, async (qmp) => {
      await cancelOutgoing(qmp);
      await this.#progress(id, qmp, await queryMigration(qmp));
    });
  }

  /** Of a target that runs: whether the rest of its memory will never come. */
  async isLost(id: MachineId): Promise<boolean> {
    const { status } = await this.#at.with(id, queryMigration);
    if (status !== "postcopy-active" && status !== "postcopy-paused") {
      this.#at.records.need(id).folder.update((now) => ({ ...now, postCopy: undefined }));
    }
    return status === "postcopy-paused";
  }

  /** The progress; a guest that stood still for a migration that came to nothing goes on. One that broke down before it stopped for the switchover does not move. */
  async #progress(id: MachineId, qmp: Qmp, status: MigrationStatus): Promise<MigrationProgress> {
    const progress = progressOf(status);
    if (["completed", "failed", "cancelled"].includes(progress.phase)) {
      const broke = await this.#at.keepBroken(this.#at.records.need(id), qmp, await runState(qmp));
      if (broke) return { ...progress, phase: "failed", error: BROKE[broke.by] };
    }
    if (this.#at.records.need(id).record.held !== "migration") return progress;
    // postmigrate: also the state after one that failed at its very end.
    if (progress.phase === "failed" || progress.phase === "cancelled")
      await this.letGoOn(id, qmp, ["paused", "postmigrate"]);
    // QEMU counts from where it stops the guest, and this one stood still before.
    return { ...progress, downtimeMs: progress.totalMs };
  }

  /** @param states run states that here mean: it was not sent */
  async letGoOn(id: MachineId, qmp: Qmp, states: readonly string[]): Promise<void> {
    const found = this.#at.records.need(id);
    const { folder, record } = found;
    if (record.held !== "migration") return;
    const status = await runState(qmp);
    if (record.paused && status === "postmigrate") await this.#at.takeDisks(found, qmp);
    if (!record.paused && states.includes(status))
      await qmp.execute("cont").catch(async (error: unknown) => {
        if (states.includes(await runState(qmp))) throw error;
      });
    // All may have been sent meanwhile: then it stands still for the switchover, and should that fail, QEMU would not let it go on by itself.
    if ((await runState(qmp)) === "finish-migrate") return;
    folder.update((now) => ({ ...now, held: undefined }));
  }
}

/** Disks that are not in QEMU, which may have refused them, are left out. */
async function eachWritable(
  qmp: Qmp,
  { config: { disks } }: MachineRecord,
  work: (key: string, disk: DiskConfig) => Promise<void>,
): Promise<void> {
  const nodes = await nodeNames(qmp);
  for (const [i, disk] of disks.entries()) {
    const key = keyOf(disk, i);
    if (!disk.readOnly && nodes.includes(`drive${key}`)) await work(key, disk);
  }
}
