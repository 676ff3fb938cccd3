/**
 * The layers of a machine's disks, in its folder (volumes.ts). A disk is a chain of qcow2 files; only the top one, the active layer, is ever
 * written by the guest. A snapshot freezes the active layers and puts an empty overlay on each:
 *
 *   image ◄── root.qcow2 ◄── root-4f….qcow2 ◄── root-91….qcow2 (active)
 *               frozen by      frozen by
 *               snapshot 4f…   snapshot 91…          a rollback to 4f…: a new overlay of root.qcow2 becomes the active one
 *
 *   root.qcow2, root-<12 digits of the uid>.qcow2     layers; a file keeps its name and, once frozen, what it holds
 *   layers.json                                       which layers are active, and with which snapshot's memory the next run goes on;
 *                                                     without it each disk's first
 *   snapshots/<uid>.json                              what each snapshot froze: taking, taken, deleted
 *   snapshots/<uid>.memory                            the memory that was kept with it
 *   suspended.memory                                  the memory of a suspended machine; of nobody unless layers.json says so
 *
 * layers.json is the one truth, and is replaced atomically. A layer that nothing needs is merged into the only one above it; while several
 * are above it, it stays. Every function may be cut short anywhere and called again; only whoever works under the claim on the disks
 * (compute/snapshots/kinds.ts) calls those that change something. External layers, not qcow2's internal snapshots: the pause does not grow
 * with the disk, others can read a frozen layer while the guest runs (clones, backups), and no table is rewritten in place.
 */
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Static } from "typebox";
import type { LayerSwitch } from "../hypervisor.ts";
import {
  type Facts,
  type Files,
  Frozen,
  type KeptMemory,
  LayersError,
  Pointer,
  readJson,
  type SuspendedRun,
  type Taken,
} from "./layer-records.ts";
import { inOrder, nextStep, withAllBelow } from "./layer-steps.ts";
import { type LayerTool, QEMU_IMG } from "./layer-tool.ts";
import { readHeader } from "./qcow2-head.ts";
import { exists } from "./volume-files.ts";

/** Takes what `from` holds into `into`, right above it. @returns false when `into` is not open in a running machine */
export type Absorb = (into: string, from: string) => Promise<boolean>;

export interface Tree {
  tree: { snapshot: string; parent?: string }[];
  current?: string;
}

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
  readonly #folder: string;
  readonly #disks: readonly string[];
  readonly #user: { uid: number; gid: number };
  readonly #tool: LayerTool;

  /** @param disks the names of the disks that the guest can write: "root" */
  constructor(
    folder: string,
    disks: readonly string[],
    user: { uid: number; gid: number },
    tool: LayerTool = QEMU_IMG,
  ) {
    this.#folder = folder;
    this.#disks = disks;
    this.#user = user;
    this.#tool = tool;
  }

  /** The active layers' paths, in the order of the disks. */
  async active(disks = this.#disks): Promise<string[]> {
    const { active } = await this.#pointer();
    return disks.map((disk) => this.#path(active[disk] ?? `${disk}.qcow2`));
  }

  /** Where the memory of a snapshot is kept. */
  memoryFile(uid: string): string {
    return this.#path(`snapshots/${uid}.memory`);
  }

  /** Bytes that the memory of a snapshot takes; undefined when none was kept whole. */
  async memoryBytes(uid: string): Promise<number | undefined> {
    if (!(await exists(this.memoryFile(uid)))) return undefined;
    const files = await Promise.all(
      (await this.#filesOf(uid)).map((file) => stat(this.#path(`snapshots/${file}`))),
    );
    return files.reduce((sum, { blocks }) => sum + blocks * 512, 0);
  }

  /** No-op when there is none. */
  async dropMemory(uid: string): Promise<void> {
    // The one that tells that it is whole goes first.
    for (const file of (await this.#filesOf(uid)).sort())
      await this.#tool.remove(this.#path(`snapshots/${file}`));
  }

  /** The memory that the next run goes on with: of its template, as it was suspended, or a snapshot's. */
  async saved(): Promise<Saved | undefined> {
    const { resume, template, suspended } = await this.#pointer();
    if (template)
      return (await exists(template.file)) ? { ...template, kind: "snapshot", cloned: true } : undefined;
    const file = this.suspendedFile();
    // Said to be there, it has to be: a machine that was suspended does not boot instead by itself.
    if (suspended) return { file, of: suspended.memory, kind: "suspended" };
    const of = resume && (await this.#read(resume))?.taken?.memory;
    return of && (await exists(this.memoryFile(resume)))
      ? { file: this.memoryFile(resume), of, kind: "snapshot" }
      : undefined;
  }

  /** The memory has been loaded, and its guest is about to run; or nobody is to go on with it any more. */
  async resumed(): Promise<void> {
    const { active, resume, template, suspended } = await this.#pointer();
    if (resume !== undefined || template || suspended) await this.#setPointer({ active });
    await this.#tool.remove(this.suspendedFile());
  }

  suspendedFile(): string {
    return this.#path("suspended.memory");
  }

  /** The run's memory is in suspendedFile, and it never goes on by itself: from now on the next one does with it. */
  async suspended(suspended: SuspendedRun): Promise<void> {
    await this.#setPointer({ ...(await this.#pointer()), suspended });
  }

  /** The run whose memory the next one goes on with. */
  async suspendedRun(): Promise<SuspendedRun | undefined> {
    return (await this.#pointer()).suspended;
  }

  /** A new machine's first run goes on with this memory of another one. Before its disks are made. */
  async resumeAs(template: { file: string; of: NonNullable<Taken["memory"]> }): Promise<void> {
    await this.#setPointer({ active: {}, template });
  }

  /** How far a snapshot is, and what is told of one that is finished; undefined before it is begun, and when nothing is left of it. */
  async standing(uid: string): Promise<Pick<Frozen, "state" | "taken"> | undefined> {
    return this.#read(uid);
  }

  /**
   * Finishes what was cut short between QEMU's switch and our writing it down. While no machine has the disks, an empty overlay of what was active is as
   * good as that, whether or not the switch was made. `written`: what a running machine writes to, which alone says whether it was; what was not begins
   * anew, or, but for snapshot `but`, has not been.
   */
  async settle(written?: readonly string[], but?: string): Promise<void> {
    for (const [uid, record] of await this.#records()) {
      const isSwitched = Object.values(record.next).some((next) => written?.includes(this.#path(next)));
      // Also of one that has been given up since.
      if (isSwitched || (!written && record.state === "taking")) await this.#point(record);
      else if (record.state === "taking" && uid !== but) await this.abandon(uid);
    }
  }

  /** Whether a switch was cut short, so that only a machine which runs says which layers are active. */
  async isUnsettled(): Promise<boolean> {
    const { active } = await this.#pointer();
    return (await this.#records()).some(
      ([, { state, layers }]) =>
        state === "taking" &&
        Object.entries(layers).some(([disk, layer]) => (active[disk] ?? `${disk}.qcow2`) === layer),
    );
  }

  /** Step 1 of a snapshot: makes the overlays. @returns what is to be switched in a running machine. @throws LayersError when it was undone */
  async begin(uid: string): Promise<LayerSwitch[]> {
    let record = await this.#read(uid);
    if (!record) {
      const { active } = await this.#pointer();
      // What it froze has been merged into its own overlays: they would be what it freezes, and what is written to.
      if (this.#disks.some((disk) => active[disk] === `${disk}-${digits(uid)}.qcow2`))
        throw new LayersError("it was cut short, and has been undone; take another one");
      record = { state: "taking", layers: {}, next: {} };
      for (const disk of this.#disks) {
        const layer = active[disk] ?? `${disk}.qcow2`;
        const next = `${disk}-${digits(uid)}.qcow2`;
        try {
          await this.#overlay(next, layer);
        } catch (error) {
          await this.#dropUnrecorded(uid);
          throw error;
        }
        record.layers[disk] = layer;
        record.next[disk] = next;
      }
      await this.#write(uid, record);
    }
    return this.#disks.flatMap((disk) => {
      const [from, to] = [record.layers[disk], record.next[disk]];
      return from && to ? [{ from: this.#path(from), to: this.#path(to) }] : [];
    });
  }

  /**
   * Step 2, once QEMU has switched, or no machine has the disks. `next`: what is pointed to besides; as it is when absent. @returns what is told of it, also when it was finished before
   */
  async finish(uid: string, facts: Facts, next?: Pick<Pointer, "resume">): Promise<Taken> {
    const record = await this.#read(uid);
    if (!record) throw new Error(`snapshot ${uid} was not begun`);
    await this.#point(record, next);
    if (record.state !== "taking" && record.taken) return record.taken;
    const taken: Taken = { ...facts, disks: [] };
    for (const [name, layer] of Object.entries(record.layers)) {
      const { sizeBytes } = await readHeader(this.#path(layer));
      taken.disks.push({ name, sizeBytes, usedBytes: (await stat(this.#path(layer))).blocks * 512 });
    }
    await this.#write(uid, { ...record, state: "taken", taken });
    return taken;
  }

  /**
   * Other machines may read what a snapshot froze, from now on: until it is deleted, nothing is merged into its layers or those below. On the next
   * machine of a chain of clones they are another folder's, and lent already.
   */
  async lend(uid: string): Promise<void> {
    const record = await this.#read(uid);
    if (record?.state !== "taken") throw new LayersError("the snapshot's disks are not there");
    if (!record.lent) await this.#write(uid, { ...record, lent: true });
    const layers = await this.#layers();
    for (const layer of withAllBelow(layers, Object.values(record.layers)))
      await this.#tool.lend(this.#path(layer));
  }

  /** What was lent of a snapshot: by disk, the layer's path. @throws LayersError when it was not */
  async lent(uid: string): Promise<{ disks: Record<string, string>; taken: Taken }> {
    const record = await this.#read(uid);
    if (record?.state !== "taken" || !record.lent || !record.taken)
      throw new LayersError("the template's disks are not there; is its storage pool really shared?");
    const paths = Object.entries(record.layers).map(([disk, layer]) => [disk, this.#path(layer)]);
    return { disks: Object.fromEntries(paths), taken: record.taken };
  }

  /** Instead of step 2: none of it has happened. Only when QEMU has not switched. */
  async abandon(uid: string): Promise<void> {
    const record = await this.#read(uid);
    const active = new Set(Object.values((await this.#pointer()).active));
    if (record?.state !== "taking" || Object.values(record.next).some((next) => active.has(next))) return;
    for (const next of Object.values(record.next)) await this.#tool.remove(this.#path(next));
    await this.#tool.remove(this.#recordPath(uid));
  }

  /**
   * What of a revert can fail for want of room, or of the snapshot: while the machine runs on. Called again by revert, which finds it done.
   * @throws LayersError, CommandError; nothing of it is left then
   */
  async prepareRevert(id: string, uid: string): Promise<void> {
    try {
      await this.#overlays(id, await this.#frozen(uid), (await this.#pointer()).active);
    } catch (error) {
      await this.undoRevert(id, undefined).catch(() => undefined);
      throw error;
    }
  }

  /** Takes back what a revert has made. @returns false when the disks have gone back: then it is to be finished */
  async undoRevert(id: string, keep: string | undefined): Promise<boolean> {
    const { active } = await this.#pointer();
    const next = this.#nextOf(id);
    if (this.#disks.some((disk) => active[disk] === next[disk])) return false;
    const before = keep ?? id;
    if ((await this.#read(before))?.state === "taking") await this.#tool.remove(this.#recordPath(before));
    for (const file of Object.values(next)) await this.#tool.remove(this.#path(file));
    if (keep) await this.dropMemory(keep);
    return true;
  }

  #nextOf(id: string): Static<typeof Files> {
    return Object.fromEntries(this.#disks.map((disk) => [disk, `${disk}-${digits(id)}.qcow2`]));
  }

  /** What a snapshot froze. @throws LayersError when it is not all there */
  async #frozen(uid: string): Promise<Frozen> {
    const record = await this.#read(uid);
    if (record?.state !== "taken") throw new LayersError("the snapshot's disks are not there");
    const layers = await this.#layers();
    for (const top of Object.values(record.layers))
      for (let layer: string | undefined = top; layer; layer = layers.get(layer))
        if (!layers.has(layer))
          throw new LayersError(
            `the snapshot's disks are not whole: ${this.#path(layer)} is gone; bring it back, or choose another snapshot`,
          );
    return record;
  }

  /** Empty ones on what a snapshot froze. @returns by disk, the layers that they are to take the place of */
  async #overlays(id: string, { layers }: Frozen, active: Pointer["active"]): Promise<Static<typeof Files>> {
    const now: Static<typeof Files> = {};
    for (const [disk, next] of Object.entries(this.#nextOf(id))) {
      const layer = active[disk] ?? `${disk}.qcow2`;
      // One that was added later goes on as it is.
      await this.#overlay(next, layers[disk] ?? layer);
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
    const { active } = await this.#pointer();
    const next = this.#nextOf(id);
    const before = keep ?? id;
    if (!this.#disks.every((disk) => active[disk] === next[disk])) {
      const layers = await this.#overlays(id, record, active);
      if (!(await this.#read(before))) await this.#write(before, { state: "taking", layers, next });
    }
    // All done before: what was not to be kept is gone.
    if (!keep && !(await this.#read(before))) return undefined;
    const taken = await this.finish(before, facts, resume ? { resume: uid } : {});
    if (keep) return taken;
    await this.#mark(before);
    return undefined;
  }

  /** Deletes a snapshot, and merges what nothing needs any more. `absorb` is asked first: a running machine may have the layers open. */
  async remove(uid: string, absorb: Absorb): Promise<void> {
    await this.#dropUnrecorded(uid);
    await this.#mark(uid);
    await this.collect(absorb);
  }

  /** Frees what belongs to deleted snapshots only. */
  async collect(absorb: Absorb): Promise<void> {
    for (;;) {
      const records = await this.#records();
      const layers = await this.#layers();
      const needed = new Set((await this.active()).map((path) => basename(path)));
      // Of disks that are not the machine's now, too.
      for (const layer of Object.values((await this.#pointer()).active)) needed.add(layer);
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
        for (const [uid, { state, layers: own }] of records)
          if (state === "deleted" && !Object.values(own).some((layer) => layers.has(layer)))
            await this.#tool.remove(this.#recordPath(uid));
        return;
      }
      const layer = this.#path(step.layer);
      if (step.do === "merge") {
        const into = this.#path(step.into);
        if (!(await absorb(into, layer))) await this.#tool.rebase(into, layer);
        if ((await readHeader(into)).backing === layer)
          throw new LayersError("a layer of its disks was merged, and is still needed; it is tried again");
      } else await this.#tool.remove(layer);
    }
  }

  /** What there is of them, for a host that is to have the same. @throws LayersError when a snapshot's standing forbids that */
  async describe(disks: readonly string[]): Promise<Description> {
    const records = await this.#records();
    for (const [uid, { state, lent }] of records) {
      if (state === "taking")
        throw new LayersError(
          "a snapshot of it was cut short: take another one of it, or delete one, before it is moved",
        );
      if (lent && state !== "deleted")
        throw new LayersError(
          "machines that were cloned from it read its disks, in a storage pool that is not shared: delete them, or make them independent, before it is moved",
        );
      if ((await this.#filesOf(uid)).length > 0)
        throw new LayersError(
          "a snapshot of it has memory, which does not go along from a storage pool that is not shared: delete the snapshot before it is moved",
        );
    }
    const active = (await this.active(disks)).map((path) => basename(path));
    const layers = await this.#layers();
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
    for (const { uid, ...record } of snapshots) await this.#write(uid, record);
    await this.#setPointer({ active });
  }

  /** An empty layer, which another host fills. No-op when it is there. @param over the one below it */
  async place(file: string, over: string, sizeBytes: number): Promise<void> {
    if (!(await exists(this.#path(file))))
      await this.#tool.create(this.#path(file), this.#path(over), sizeBytes, this.#user);
  }

  async tree(): Promise<Tree> {
    const [disk = ""] = this.#disks;
    const layers = await this.#layers();
    const taken = (await this.#records()).filter(([, { state }]) => state === "taken");
    const by = new Map(taken.map(([uid, record]) => [record.layers[disk], uid]));
    const below = (layer: string | undefined): string | undefined => {
      for (let next = layers.get(layer ?? ""); next; next = layers.get(next)) {
        const uid = by.get(next);
        if (uid) return uid;
      }
      return undefined;
    };
    const current = below((await this.#pointer()).active[disk]);
    return {
      tree: taken.map(([snapshot, record]) => {
        const parent = below(record.layers[disk]);
        return { snapshot, ...(parent ? { parent } : {}) };
      }),
      ...(current ? { current } : {}),
    };
  }

  // --- inside ---

  /** Every layer with the one below it; the image below the first is none of ours. */
  async #layers(): Promise<Map<string, string | undefined>> {
    const found = new Map<string, string | undefined>();
    for (const file of await readdir(this.#folder)) {
      if (!file.endsWith(".qcow2")) continue;
      const { backing } = await readHeader(this.#path(file));
      found.set(file, backing?.startsWith(`${this.#folder}/`) ? basename(backing) : undefined);
    }
    return found;
  }

  async #overlay(name: string, layer: string): Promise<void> {
    const path = this.#path(name);
    if (await exists(path)) return;
    const { sizeBytes } = await readHeader(this.#path(layer));
    await this.#tool.create(path, this.#path(layer), sizeBytes, this.#user);
  }

  /** Makes the overlays of a snapshot active where what it froze still is. */
  async #point(record: Frozen, next?: Pick<Pointer, "resume">): Promise<void> {
    const { active: before, ...rest } = await this.#pointer();
    const after = { ...before };
    for (const [disk, layer] of Object.entries(record.layers)) {
      const next = record.next[disk];
      if (next && (before[disk] ?? `${disk}.qcow2`) === layer && (await exists(this.#path(next))))
        after[disk] = next;
    }
    if (!isDeepStrictEqual(before, after)) await this.#setPointer({ active: after, ...(next ?? rest) });
  }

  async #pointer(): Promise<Pointer> {
    return (await readJson(this.#path("layers.json"), Pointer)) ?? { active: {} };
  }

  #setPointer(pointer: Pointer): Promise<void> {
    return this.#tool.replace(this.#path("layers.json"), JSON.stringify(pointer));
  }

  async #mark(uid: string): Promise<void> {
    const record = await this.#read(uid);
    if (record) await this.#write(uid, { ...record, state: "deleted" });
    // A run that was to go on with it boots instead: saved() finds no file.
    await this.dropMemory(uid);
  }

  /** Of a snapshot's memory, whatever there is of it (memory-files.ts). */
  async #filesOf(uid: string): Promise<string[]> {
    const folder = this.#path("snapshots");
    const files = (await exists(folder)) ? await readdir(folder) : [];
    return files.filter((file) => file === `${uid}.memory` || file.startsWith(`${uid}.memory.`));
  }

  /** Overlays that `begin` made and did not get to record, so that no guest has ever written to them. No-op when it did. */
  async #dropUnrecorded(uid: string): Promise<void> {
    if (await this.#read(uid)) return;
    const needed = new Set(Object.values((await this.#pointer()).active));
    for (const [, { layers, next }] of await this.#records())
      for (const layer of [...Object.values(layers), ...Object.values(next)]) needed.add(layer);
    const layers = await this.#layers();
    for (const below of layers.values()) if (below) needed.add(below);
    for (const disk of this.#disks) {
      const made = `${disk}-${digits(uid)}.qcow2`;
      if (layers.has(made) && !needed.has(made)) await this.#tool.remove(this.#path(made));
    }
  }

  async #records(): Promise<[string, Frozen][]> {
    const folder = this.#path("snapshots");
    if (!(await exists(folder))) return [];
    const found: [string, Frozen][] = [];
    for (const file of (await readdir(folder)).sort()) {
      if (!file.endsWith(".json")) continue;
      const uid = basename(file, ".json");
      const record = await this.#read(uid);
      if (record) found.push([uid, record]);
    }
    return found;
  }

  #read(uid: string): Promise<Frozen | undefined> {
    return readJson(this.#recordPath(uid), Frozen);
  }

  #write(uid: string, record: Frozen): Promise<void> {
    return this.#tool.replace(this.#recordPath(uid), JSON.stringify(record));
  }

  #path(file: string): string {
    return join(this.#folder, file);
  }

  #recordPath(uid: string): string {
    return this.#path(`snapshots/${uid}.json`);
  }
}

/** A memory that the next run goes on with; `cloned`: another machine's. */
export interface Saved {
  file: string;
  of: KeptMemory;
  /** Kept with a snapshot, or by suspending. */
  kind: "snapshot" | "suspended";
  cloned?: boolean;
}
