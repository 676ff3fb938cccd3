/** What is on disk of the layers of a machine's disks (layers.ts): the layers themselves, which are active, and what each snapshot froze. */
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { exists } from "../../system/exists.ts";
import { layersIn } from "./bases.ts";
import { Frozen, Merging, Pointer, readJson } from "./layer-records.ts";
import { type LayerTool, QEMU_IMG } from "./layer-tool.ts";
import { readHeader } from "./qcow2-head.ts";

type User = { uid: number; gid: number };

const mergingFile = (folder: string) => join(folder, "merging.json");

/** What is written down of a merge in a machine's folder, also of one that is over. @throws LayersError */
export const mergingIn = (folder: string): Promise<Merging | undefined> =>
  readJson(mergingFile(folder), Merging);

export class LayerFolder {
  readonly #folder: string;
  readonly #user: User;
  readonly tool: LayerTool;

  /** @param user whose the layers are that are made */
  constructor(folder: string, user: User, tool: LayerTool = QEMU_IMG) {
    this.#folder = folder;
    this.#user = user;
    this.tool = tool;
  }

  path(file: string): string {
    return join(this.#folder, file);
  }

  async pointer(): Promise<Pointer> {
    return (await readJson(this.path("layers.json"), Pointer)) ?? { active: {} };
  }

  setPointer(pointer: Pointer): Promise<void> {
    return this.tool.replace(this.path("layers.json"), JSON.stringify(pointer));
  }

  /** The merge that is under way, or was cut short; undefined when it is known to be over. */
  async merging(): Promise<Merging | undefined> {
    const merging = await mergingIn(this.#folder);
    if (!merging) return undefined;
    // One whose lower layer has taken the name of the upper is over, and so is one of which a layer is gone.
    const isThere = (await exists(this.path(merging.from))) && (await exists(this.path(merging.into)));
    return isThere ? merging : undefined;
  }

  setMerging(merging: Merging | undefined): Promise<void> {
    const path = mergingFile(this.#folder);
    return merging ? this.tool.replace(path, JSON.stringify(merging)) : this.tool.remove(path);
  }

  /** Names of what is in it. */
  async files(): Promise<string[]> {
    return (await exists(this.#folder)) ? readdir(this.#folder) : [];
  }

  /** Every layer with the one below it; the image below the first is none of ours. @throws ForeignDiskError */
  async layers(): Promise<Map<string, string | undefined>> {
    return layersIn(this.#folder, await this.merging());
  }

  /** Makes an empty layer. No-op when it is there. @param sizeBytes that of the one below it when absent */
  async place(name: string, below: string, sizeBytes?: number): Promise<void> {
    if (await exists(this.path(name))) return;
    const size = sizeBytes ?? (await readHeader(this.path(below))).sizeBytes;
    await this.tool.create(this.path(name), this.path(below), size, this.#user);
  }

  /** What each snapshot froze, by its uid. */
  async records(): Promise<[string, Frozen][]> {
    const found: [string, Frozen][] = [];
    for (const file of (await this.snapshotFiles()).sort()) {
      if (!file.endsWith(".json")) continue;
      const uid = basename(file, ".json");
      const record = await this.read(uid);
      if (record) found.push([uid, record]);
    }
    return found;
  }

  read(uid: string): Promise<Frozen | undefined> {
    return readJson(this.#recordPath(uid), Frozen);
  }

  write(uid: string, record: Frozen): Promise<void> {
    return this.tool.replace(this.#recordPath(uid), JSON.stringify(record));
  }

  removeRecord(uid: string): Promise<void> {
    return this.tool.remove(this.#recordPath(uid));
  }

  /** Names of files in snapshots/: records, and memories. */
  async snapshotFiles(): Promise<string[]> {
    const folder = this.path("snapshots");
    return (await exists(folder)) ? readdir(folder) : [];
  }

  #recordPath(uid: string): string {
    return this.path(`snapshots/${uid}.json`);
  }
}
