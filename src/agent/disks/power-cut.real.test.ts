/** What is made once, and never again where it is there, is whole after a power cut. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { type Losable, losable } from "../testing/power-cut.ts";
import { IMAGE, instanceOf, poolAt } from "../testing/volumes.ts";
import { makeDisk } from "./make-disk.ts";
import { copyOrigin, writeOrigin } from "./origin.ts";
import { makeCopies } from "./volume-copies.ts";
import { dumpsOf, folderOf, userOf } from "./volume-places.ts";
import { ensureVolumes } from "./volumes.ts";

let disk: Losable;
let pool: StoragePool;
beforeEach(async () => {
  disk = await losable();
  pool = await poolAt(disk.path, false);
});
afterEach(() => disk.remove());

const instance = instanceOf();
const inPool = (path: string) => path.slice(disk.path.length);

/** What each file of a folder holds. */
const filesOf = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name)).toString("latin1")]),
  );

const MADE: [string, string[], () => Promise<string>][] = [
  [
    "a machine's first disks, and what its guest is told",
    ["boot.json", "root.base", "root.qcow2", "seed.img", "vars.base", "vars.qcow2"],
    async () => {
      await ensureVolumes(pool, IMAGE, instanceOf({ hardware: { firmware: "uefi" } }));
      return folderOf(pool, instance);
    },
  ],
  [
    "a disk that is plugged in",
    ["data.base", "data.qcow2"],
    async () => {
      const folder = join(disk.path, "data");
      mkdirSync(folder);
      await makeDisk(join(folder, "data.qcow2"), undefined, 2 ** 20, userOf(instance.spec));
      return folder;
    },
  ],
  [
    "what a clone boots",
    ["boot.json"],
    async () => {
      const [from, to] = [join(disk.path, "from"), join(disk.path, "to")];
      for (const each of [from, to]) mkdirSync(each);
      await writeOrigin(from, { file: "base.qcow2" });
      await copyOrigin(from, to);
      return to;
    },
  ],
  [
    "copies that a move fills",
    ["boot.json", "copy.json", "root.base", "root.qcow2", "seed.img"],
    async () => {
      const volumes = {
        disks: [{ name: "root", sizeBytes: 2 ** 20 }],
        seedBytes: 65_536,
        origin: { file: "base.qcow2" },
      };
      await makeCopies({ own: pool, image: IMAGE, ofImage: pool, shared: [] }, instance, volumes);
      return folderOf(pool, instance);
    },
  ],
  [
    "a dump of a guest's memory",
    ["GuestPanic-0-a.elf"],
    async () => {
      const dumps = dumpsOf(pool, instance);
      const path = dumps.path({ reason: "GuestPanic", time: new Date(0).toISOString(), host: "a" });
      writeFileSync(await dumps.begin(path, 0), "what the guest had in mind");
      await dumps.finish(path, 3);
      return join(path, "..");
    },
  ],
];

it.each(MADE)("%s", async (_, names, make) => {
  const folder = await make();
  const made = filesOf(folder);
  expect(Object.keys(made).sort()).toEqual(names);
  const after = await disk.cut((path) => filesOf(join(path, inPool(folder))));
  expect(Object.keys(after).sort()).toEqual(names);
  for (const name of names) expect(after[name] === made[name], name).toBe(true);
});
