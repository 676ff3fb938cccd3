/**
 * The layers of a machine's disks, in its folder (volumes.ts). A disk is a chain of qcow2 files; only the top one, the active layer, is ever
 * written by the guest. A snapshot freezes the active layers and puts an empty overlay on each:
 *
 *   image ◄── root.qcow2 ◄── root-4f….qcow2 ◄── root-91….qcow2 (active)
 *               frozen by      frozen by
 *               snapshot 4f…   snapshot 91…          a rollback to 4f…: a new overlay of root.qcow2 becomes the active one
 *
 *   root.qcow2, root-<12 digits of the uid>.qcow2     layers; one that is frozen holds the same until a merge writes into it, or removes it
 *   layers.json                                       which layers are active, and with which snapshot's memory the next run goes on;
 *                                                     without it each disk's first
 *   merging.json                                      the merge that is under way (layer-merging.ts)
 *   snapshots/<uid>.json                              what each snapshot froze: taking, taken, deleted
 *   snapshots/<uid>.memory                            the memory that was kept with it
 *   suspended.memory                                  the memory of a suspended machine; of nobody unless layers.json says so
 *
 * layers.json is the one truth, and is replaced atomically. A layer that nothing needs is made one with the only one above it; while several
 * are above it, it stays. Every function may be cut short anywhere and called again; only whoever works under the claim on the disks
 * (compute/snapshots/kinds.ts) calls those that change something. External layers, not qcow2's internal snapshots: the pause does not grow
 * with the disk, others can read a frozen layer while the guest runs (clones, backups), and no table is rewritten in place.
 */
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Static } from "typebox";
import { exists } from "../../system/exists.ts";
import type { LayerSwitch } from "../hypervisor.ts";
import { KeptMemories } from "./kept-memories.ts";
import { LayerFolder } from "./layer-folder.ts";
import { type Absorb, checkNoneMerging, merge, type Running, settleMerge } from "./layer-merging.ts";
import {
  type Facts,
  type Files,
  type Frozen,
  LayersError,
  type Pointer,
  type Taken,
} from "./layer-records.ts";
import { inOrder, nextStep, type Tree, treeOf, withAllBelow } from "./layer-steps.ts";
import type { LayerTool } from "./layer-tool.ts";
import { readHeader } from "./qcow2-head.ts";

/** A layer and the one below it, where that is the machine's own, too. */
interface Layer {
  file: string;
  over: string | undefined;
}

export interface Description {
  /** In the order of the disks. */
  active: Layer[];
  /** Each after the one below it. */
  frozen: Layer[];
  snapshots: (Pick<Frozen, "layers" | "next" | "taken"> & { uid: string; state: "taken" | "deleted" })[];
}

const digits = (uid: string) => uid.replaceAll("-", "").slice(0, 12);

export class Layers {
  readonly #at: LayerFolder;
  readonly #disks: readonly string[];
  /** The memories that are kept with them. */
  readonly memories: KeptMemories;

  /** @param disks the names of the disks that the guest can write: "root" */
  constructor(
    folder: string,
    disks: readonly string[],
    user: { uid: number; gid: number },
    tool?: LayerTool,
  ) {
    this.#at = new LayerFolder(folder, user, tool);
    this.#disks = disks;
    this.memories = new KeptMemories(this.#at);
  }

  /** The active layers' paths, in the order of the disks. */
  async active(disks = this.#disks): Promise<string[]> {
    const { active } = await this.#at.pointer();
    return disks.map((disk) => this.#at.path(active[disk] ?? `${disk}.qcow2`));
  }

  /** How far a snapshot is, and what is told of one that is finished; undefined before it is begun, and when nothing is left of it. */
  async standing(uid: string): Promise<Pick<Frozen, "state" | "taken"> | undefined> {
    return this.#at.read(uid);
  }

  /**
   * Finishes what was cut short between QEMU's switch and our writing it down. While no machine has the disks, an empty overlay of what was active is as
   * good as that, whether or not the switch was made. What a running machine writes to alone says whether it was; what was not begins
   * anew, or, but for snapshot `but`, has not been. @throws as collect, while it runs
   */
  async settle(running?: Running, but?: string): Promise<void> {
    await settleMerge(this.#at, running);
    const written = running?.written;
    for (const [uid, record] of await this.#at.records()) {
      const isSwitched = Object.values(record.next).some((next) => written?.includes(this.#at.path(next)));
      // Also of one that has been given up since.
      if (isSwitched || (!written && record.state === "taking")) await this.#point(record);
      else if (record.state === "taking" && uid !== but) await this.abandon(uid);
    }
  }

  /** Whether a switch or a merge was cut short, so that only a machine which runs says which layers are active, and what they stand on. */
  async isUnsettled(): Promise<boolean> {
    if (await this.#at.merging()) return true;
    const { active } = await this.#at.pointer();
    return (await this.#at.records()).some(
      ([, { state, layers }]) =>
        state === "taking" &&
        Object.entries(layers).some(([disk, layer]) => (active[disk] ?? `${disk}.qcow2`) === layer),
    );
  }

  /** Step 1 of a snapshot: makes the overlays. @returns what is to be switched in a running machine. @throws LayersError when it was undone */
  async begin(uid: string): Promise<LayerSwitch[]> {
    let record = await this.#at.read(uid);
    if (!record) {
      const { active, was = {} } = await this.#at.pointer();
      // What it froze has been merged with its own overlays: they would be what it freezes, and what is written to.
      if (this.#disks.some((disk) => [active[disk], was[disk]].includes(`${disk}-${digits(uid)}.qcow2`)))
        throw new LayersError("it was cut short, and has been undone; take another one");
      record = { state: "taking", layers: {}, next: {} };
      for (const disk of this.#disks) {
        const layer = active[disk] ?? `${disk}.qcow2`;
        const next = `${disk}-${digits(uid)}.qcow2`;
        try {
          await this.#at.place(next, layer);
        } catch (error) {
          await this.#dropUnrecorded(uid);
          throw error;
        }
        record.layers[disk] = layer;
        record.next[disk] = next;
      }
      await this.#at.write(uid, record);
    }
    return this.#disks.flatMap((disk) => {
      const [from, to] = [record.layers[disk], record.next[disk]];
      return from && to ? [{ from: this.#at.path(from), to: this.#at.path(to) }] : [];
    });
  }

  /**
   * Step 2, once QEMU has switched, or no machine has the disks. `next`: what is pointed to besides; as it is when absent. @returns what is told of it, also when it was finished before
   */
  async finish(uid: string, facts: Facts, next?: Pick<Pointer, "resume">): Promise<Taken> {
    const record = await this.#at.read(uid);
    if (!record) throw new Error(`snapshot ${uid} was not begun`);
    await this.#point(record, next);
    if (record.state !== "taking" && record.taken) return record.taken;
    const taken: Taken = { ...facts, disks: [] };
    for (const [name, layer] of Object.entries(record.layers)) {
      const { sizeBytes } = await readHeader(this.#at.path(layer));
      taken.disks.push({ name, sizeBytes, usedBytes: (await stat(this.#at.path(layer))).blocks * 512 });
    }
    await this.#at.write(uid, { ...record, state: "taken", taken });
    return taken;
  }

  /**
   * Other machines may read what a snapshot froze, from now on: until it is deleted, nothing is merged into its layers or those below. On the next
   * machine of a chain of clones they are another folder's, and lent already.
   */
  async lend(uid: string): Promise<void> {
    const record = await this.#at.read(uid);
    if (record?.state !== "taken") throw new LayersError("the snapshot's disks are not there");
    await checkNoneMerging(this.#at);
    if (!record.lent) await this.#at.write(uid, { ...record, lent: true });
    const layers = await this.#at.layers();
    for (const layer of withAllBelow(layers, Object.values(record.layers)))
      await this.#at.tool.lend(this.#at.path(layer));
  }

  /** What was lent of a snapshot: by disk, the layer's path. @throws LayersError when it was not */
  async lent(uid: string): Promise<{ disks: Record<string, string>; taken: Taken }> {
    const record = await this.#at.read(uid);
    if (record?.state !== "taken" || !record.lent || !record.taken)
      throw new LayersError("the template's disks are not there; is its storage pool really shared?");
    const paths = Object.entries(record.layers).map(([disk, layer]) => [disk, this.#at.path(layer)]);
    return { disks: Object.fromEntries(paths), taken: record.taken };
  }

  /** Instead of step 2: none of it has happened. Only when QEMU has not switched. */
  async abandon(uid: string): Promise<void> {
    const record = await this.#at.read(uid);
    const active = new Set(Object.values((await this.#at.pointer()).active));
    if (record?.state !== "taking" || Object.values(record.next).some((next) => active.has(next))) return;
    for (const next of Object.values(record.next)) await this.#at.tool.remove(this.#at.path(next));
    await this.#at.removeRecord(uid);
  }

  /**
   * What of a revert can fail for want of room, or of the snapshot: while the machine runs on. Called again by revert, which finds it done.
   * @throws LayersError, CommandError; nothing of it is left then
   */
  async prepareRevert(id: string, uid: string): Promise<void> {
    try {
      await this.#overlays(id, await this.#frozen(uid), (await this.#at.pointer()).active);
    } catch (error) {
      await this.undoRevert(id, undefined).catch(() => undefined);
      throw error;
    }
  }

  /** Takes back what a revert has made. @returns false when the disks have gone back: then it is to be finished */
  async undoRevert(id: string, keep: string | undefined): Promise<boolean> {
    const { active } = await this.#at.pointer();
    const next = this.#nextOf(id);
    if (this.#disks.some((disk) => active[disk] === next[disk])) return false;
    const before = keep ?? id;
    if ((await this.#at.read(before))?.state === "taking") await this.#at.removeRecord(before);
    for (const file of Object.values(next)) await this.#at.tool.remove(this.#at.path(file));
    if (keep) await this.memories.drop(keep);
    return true;
  }

  #nextOf(id: string): Static<typeof Files> {
    return Object.fromEntries(this.#disks.map((disk) => [disk, `${disk}-${digits(id)}.qcow2`]));
  }

  /** What a snapshot froze. @throws LayersError when it is not all there */
  async #frozen(uid: string): Promise<Frozen> {
    const record = await this.#at.read(uid);
    if (record?.state !== "taken") throw new LayersError("the snapshot's disks are not there");
    const layers = await this.#at.layers();
    for (const top of Object.values(record.layers))
      for (let layer: string | undefined = top; layer; layer = layers.get(layer))
        if (!layers.has(layer))
          throw new LayersError(
            `the snapshot's disks are not whole: ${this.#at.path(layer)} is gone; bring it back, or choose another snapshot`,
          );
    return record;
  }

  /** Empty ones on what a snapshot froze. @returns by disk, the layers that they are to take the place of */
  async #overlays(id: string, { layers }: Frozen, active: Pointer["active"]): Promise<Static<typeof Files>> {
    const now: Static<typeof Files> = {};
    for (const [disk, next] of Object.entries(this.#nextOf(id))) {
      const layer = active[disk] ?? `${disk}.qcow2`;
      // One that was added later goes on as it is.
      await this.#at.place(next, layers[disk] ?? layer);
      now[disk] = layer;
    }
    return now;
  }

  /**
   * Makes the disks what they were in a snapshot. No machine has them. `keep`: the state before becomes this snapshot, else it is deleted.
   * @param id of this rollback: done once, however often it is called
   * @param resume whether the next run goes on with the snapshot's memory
   */
  async revert(
    id: string,
    uid: string,
    keep: string | undefined,
    facts: Facts,
    resume = false,
  ): Promise<Taken | undefined> {
    const record = await this.#frozen(uid);
    const { active } = await this.#at.pointer();
    const next = this.#nextOf(id);
    const before = keep ?? id;
    if (!this.#disks.every((disk) => active[disk] === next[disk])) {
      const layers = await this.#overlays(id, record, active);
      if (!(await this.#at.read(before))) await this.#at.write(before, { state: "taking", layers, next });
    }
    // All done before: what was not to be kept is gone.
    if (!keep && !(await this.#at.read(before))) return undefined;
    const taken = await this.finish(before, facts, resume ? { resume: uid } : {});
    if (keep) return taken;
    await this.#mark(before);
    return undefined;
  }

  /** Deletes a snapshot, and merges what nothing needs any more. `absorb` is asked first: a running machine may have the layers open. @throws NoRoomError, which frees nothing, and may be called again */
  async remove(uid: string, absorb: Absorb): Promise<void> {
    await this.#dropUnrecorded(uid);
    await this.#mark(uid);
    await this.collect(absorb);
  }

  /** Frees what belongs to deleted snapshots only. */
  async collect(absorb: Absorb): Promise<void> {
    const left = await this.#at.merging();
    if (left) await merge(this.#at, left.into, left.from, absorb);
    for (;;) {
      const records = await this.#at.records();
      const layers = await this.#at.layers();
      const needed = new Set((await this.active()).map((path) => basename(path)));
      // Of disks that are not the machine's now, too.
      for (const layer of Object.values((await this.#at.pointer()).active)) needed.add(layer);
      for (const [, { state, layers }] of records)
        if (state !== "deleted") for (const layer of Object.values(layers)) needed.add(layer);
      const candidates = records.flatMap(([, { state, layers }]) =>
        state === "deleted" ? Object.values(layers) : [],
      );
      const lent = records.flatMap(([, { state, lent, layers }]) =>
        lent && state !== "deleted" ? Object.values(layers) : [],
      );
      const step = nextStep(layers, candidates, needed, withAllBelow(layers, lent));
      if (step.do === "nothing") {
        // One that has become what another one froze, or what is written to, is theirs.
        for (const [uid, { state, layers: own }] of records)
          if (
            state === "deleted" &&
            !Object.values(own).some((layer) => layers.has(layer) && !needed.has(layer))
          )
            await this.#at.removeRecord(uid);
        return;
      }
      if (step.do === "merge") await merge(this.#at, step.into, step.layer, absorb);
      else await this.#at.tool.remove(this.#at.path(step.layer));
    }
  }

  /** What there is of them, for a host that is to have the same. @throws LayersError when a snapshot's standing forbids that */
  async describe(disks: readonly string[]): Promise<Description> {
    const records = await this.#at.records();
    for (const [uid, { state, lent }] of records) {
      if (state === "taking")
        throw new LayersError(
          "a snapshot of it was cut short: take another one of it, or delete one, before it is moved",
        );
      if (lent && state !== "deleted")
        throw new LayersError(
          "machines that were cloned from it read its disks, in a storage pool that is not shared: delete them, or make them independent, before it is moved",
        );
      if (await this.memories.isThere(uid))
        throw new LayersError(
          "a snapshot of it has memory, which does not go along from a storage pool that is not shared: delete the snapshot before it is moved",
        );
    }
    const active = (await this.active(disks)).map((path) => basename(path));
    const layers = await this.#at.layers();
    const told = (file: string) => ({ file, over: layers.get(file) });
    return {
      active: active.map(told),
      frozen: inOrder(layers, [...active, ...records.flatMap(([, { layers }]) => Object.values(layers))])
        .filter((file) => !active.includes(file))
        .map(told),
      snapshots: records.flatMap(([uid, { state, layers, next, taken }]) =>
        state === "taking" ? [] : [{ uid, state, layers, next, ...(taken ? { taken } : {}) }],
      ),
    };
  }

  /** Says of layers that came from another host what they are. */
  async adopt(active: Static<typeof Files>, snapshots: Description["snapshots"]): Promise<void> {
    for (const { uid, ...record } of snapshots) await this.#at.write(uid, record);
    await this.#at.setPointer({ active });
  }

  /** An empty layer, which another host fills. No-op when it is there. @param over the one below it */
  place(file: string, over: string, sizeBytes: number): Promise<void> {
    return this.#at.place(file, over, sizeBytes);
  }

  /** The snapshots that there are, and what the machine is at. */
  async tree(): Promise<Tree> {
    const [disk = ""] = this.#disks;
    const taken = (await this.#at.records()).flatMap(([uid, { state, layers }]) =>
      state === "taken" ? [{ uid, layer: layers[disk] }] : [],
    );
    const { active } = await this.#at.pointer();
    return treeOf(await this.#at.layers(), taken, active[disk]);
  }

  // --- inside ---

  /** Makes the overlays of a snapshot active where what it froze still is. */
  async #point(record: Frozen, next?: Pick<Pointer, "resume">): Promise<void> {
    const { active: before, ...rest } = await this.#at.pointer();
    const after = { ...before };
    for (const [disk, layer] of Object.entries(record.layers)) {
      const next = record.next[disk];
      if (next && (before[disk] ?? `${disk}.qcow2`) === layer && (await exists(this.#at.path(next))))
        after[disk] = next;
    }
    if (!isDeepStrictEqual(before, after)) await this.#at.setPointer({ active: after, ...(next ?? rest) });
  }

  async #mark(uid: string): Promise<void> {
    const record = await this.#at.read(uid);
    if (record) await this.#at.write(uid, { ...record, state: "deleted" });
    await this.memories.drop(uid);
  }

  /** Overlays that `begin` made and did not get to record, so that no guest has ever written to them. No-op when it did. */
  async #dropUnrecorded(uid: string): Promise<void> {
    if (await this.#at.read(uid)) return;
    const needed = new Set(Object.values((await this.#at.pointer()).active));
    for (const [, { layers, next }] of await this.#at.records())
      for (const layer of [...Object.values(layers), ...Object.values(next)]) needed.add(layer);
    const layers = await this.#at.layers();
    for (const below of layers.values()) if (below) needed.add(below);
    for (const disk of this.#disks) {
      const made = `${disk}-${digits(uid)}.qcow2`;
      if (layers.has(made) && !needed.has(made)) await this.#at.tool.remove(this.#at.path(made));
    }
  }
}
