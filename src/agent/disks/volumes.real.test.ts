/** A machine's disks are made once. */
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { run } from "../../system/run.ts";
import { IMAGE, instanceOf, poolAt } from "../testing/volumes.ts";
import { QEMU_IMG } from "./layer-tool.ts";
import { Layers } from "./layers.ts";
import { dumpsOf, layersOf, userOf } from "./volume-places.ts";
import { destroyVolumes, ensureVolumes } from "./volumes.ts";

let folder: string;
let pool: StoragePool;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-volumes-"));
  pool = await poolAt(folder, true);
});
afterEach(() => rmSync(folder, { recursive: true }));

const disks = () => join(folder, "machines/default/a-01234567");

it("makes them once, and leaves them as they are after that", async () => {
  const {
    disks: [root],
  } = await ensureVolumes(pool, IMAGE, instanceOf());
  appendFileSync(root?.path ?? "", "written by the guest");
  await ensureVolumes(pool, IMAGE, instanceOf());
  await ensureVolumes(pool, IMAGE, instanceOf({ volumesExist: true }));
  expect(readFileSync(join(disks(), "root.qcow2"), "latin1")).toMatch(/written by the guest$/);
});

it("never makes an empty disk for a machine that has run before: the pool may only not be mounted", async () => {
  await ensureVolumes(pool, IMAGE, instanceOf());
  renameSync(disks(), `${disks()}.away`);
  await expect(ensureVolumes(pool, IMAGE, instanceOf({ volumesExist: true }))).rejects.toThrow(
    `the disks of a, which has run before, are not in ${disks()}; is the storage pool default mounted here?`,
  );
  await expect(ensureVolumes(pool, IMAGE, instanceOf({ incoming: true }))).rejects.toThrow(
    "is the storage pool default really shared?",
  );
  expect(existsSync(disks())).toBe(false);
  renameSync(`${disks()}.away`, disks());
  await ensureVolumes(pool, IMAGE, instanceOf({ volumesExist: true }));
});

/** As it is after a build of this name. */
async function built(build: string): Promise<Image> {
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(folder, `images/${build}.qcow2`), "1M"]);
  const boot = { kernel: `${build}.vmlinuz`, initrd: `${build}.initrd`, commandLine: `root=${build}` };
  return { ...IMAGE, status: { ...IMAGE.status, file: `${build}.qcow2`, boot } };
}
const boots = (build: string) => ({
  kernel: join(folder, `images/${build}.vmlinuz`),
  initrd: join(folder, `images/${build}.initrd`),
  commandLine: `root=${build}`,
});

it("keeps the kernel that the root was made with, when the image is built anew or gone", async () => {
  const [one, two] = [await built("one"), await built("two")];
  expect((await ensureVolumes(pool, one, instanceOf())).boot).toEqual(boots("one"));
  expect((await ensureVolumes(pool, two, instanceOf({ volumesExist: true }))).boot).toEqual(boots("one"));
  expect((await ensureVolumes(pool, two, instanceOf({ incoming: true }))).boot).toEqual(boots("one"));
  const kept = await ensureVolumes(pool, undefined, instanceOf());
  expect(kept.boot).toEqual(boots("one"));
  expect(await run("qemu-img", ["info", kept.disks[0]?.path ?? ""])).toContain("one.qcow2");
  expect((await ensureVolumes(pool, two, instanceOf({ vm: "new" }))).boot).toEqual(boots("two"));
});

it("says so when what it boots cannot be read, and when there is no image to make disks from", async () => {
  await ensureVolumes(pool, await built("one"), instanceOf());
  for (const text of ['{"kernel": 1}', "{"]) {
    writeFileSync(join(disks(), "boot.json"), text);
    await expect(ensureVolumes(pool, IMAGE, instanceOf())).rejects.toThrow(
      "boot.json does not say what a boots",
    );
  }
  await expect(ensureVolumes(pool, undefined, instanceOf({ vm: "new" }))).rejects.toThrow(
    "spec.image: there is no Image base",
  );
});

it("gives the active layer of a disk, also when its first one has been merged away", async () => {
  await ensureVolumes(pool, IMAGE, instanceOf());
  const layers = layersOf(pool, instanceOf());
  const snapshot = "aaaaaaaa-0000-4000-8000-000000000000";
  await layers.begin(snapshot);
  await layers.settle();
  await layers.remove(snapshot, async () => false);
  expect(readdirSync(disks()).filter((name) => name.endsWith(".qcow2"))).toEqual(["root-aaaaaaaa0000.qcow2"]);
  const later = await ensureVolumes(pool, IMAGE, instanceOf({ volumesExist: true }));
  expect(later.disks[0]?.path).toBe(join(disks(), "root-aaaaaaaa0000.qcow2"));
  rmSync(join(disks(), "root-aaaaaaaa0000.qcow2"));
  await expect(ensureVolumes(pool, IMAGE, instanceOf({ volumesExist: true }))).rejects.toThrow("are not in");
});

it("of a machine that is given another user, all is that one's from its next start on", async () => {
  const before = instanceOf();
  await ensureVolumes(pool, IMAGE, before);
  const uid = "aaaaaaaa-0000-4000-8000-000000000000";
  await layersOf(pool, before).begin(uid);
  const owners = () =>
    [...new Set(readdirSync(disks()).map((name) => statSync(join(disks(), name)).uid))].sort();
  expect(owners()).toEqual([0, userOf(before.spec).uid]);
  const after = instanceOf({ user: 300_000, volumesExist: true });
  const moved = { ...after, spec: { ...after.spec, incoming: true } };
  // Whether the source has switched, only its QEMU knows.
  await expect(ensureVolumes(pool, IMAGE, moved)).rejects.toThrow("a snapshot of a was cut short");
  const facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" } as const;
  await layersOf(pool, before).finish(uid, facts);
  await ensureVolumes(pool, IMAGE, moved);
  expect(owners()).toEqual([0, userOf(before.spec).uid]);
  await ensureVolumes(pool, IMAGE, after);
  expect(owners()).toEqual([0, 300_000]);
});

it("overlays of a snapshot that could not be begun, or was deleted after that was cut short, are not left", async () => {
  await ensureVolumes(pool, IMAGE, instanceOf());
  const uid = "bbbbbbbb-0000-4000-8000-000000000000";
  const overlays = () => readdirSync(disks()).filter((name) => /^root-/.test(name));
  let fails = true;
  const user = userOf(instanceOf().spec);
  const layers = new Layers(disks(), ["root", "more"], user, {
    ...QEMU_IMG,
    create: (path, ...rest) =>
      fails && path.includes("more-") ? Promise.reject(new Error("no room")) : QEMU_IMG.create(path, ...rest),
  });
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(disks(), "more.qcow2"), "1M"]);
  await expect(layers.begin(uid)).rejects.toThrow("no room");
  expect(overlays()).toEqual([]);
  // As if the agent had been killed before it wrote the record.
  fails = false;
  await layers.begin(uid);
  rmSync(join(disks(), `snapshots/${uid}.json`));
  expect(overlays()).toHaveLength(1);
  await layers.remove(uid, async () => false);
  expect(overlays()).toEqual([]);
  // One that is in use stays, whatever became of its record.
  await layers.begin(uid);
  await layers.settle();
  rmSync(join(disks(), `snapshots/${uid}.json`));
  await layers.remove(uid, async () => false);
  expect(overlays()).toHaveLength(1);
});

it("dumps stay where they are told to be when the disks have moved away, and go with the machine", async () => {
  await ensureVolumes(pool, IMAGE, instanceOf());
  const dumps = dumpsOf(pool, instanceOf());
  const path = dumps.path({ reason: "GuestPanic", time: new Date(1000).toISOString(), host: "a" });
  writeFileSync(await dumps.begin(path, 0), "core");
  await dumps.finish(path, 3);
  // As agents of before kept them.
  writeFileSync(join(disks(), "dumps/GuestPanic-500-a.elf"), "older");
  const moved: Instance = { ...instanceOf(), status: { phase: "HandedOver" } };
  await destroyVolumes(pool, moved);
  await destroyVolumes(pool, moved);
  expect(existsSync(disks())).toBe(false);
  expect(readFileSync(path, "utf8")).toBe("core");
  expect((await dumps.list()).map(({ sizeBytes }) => sizeBytes)).toEqual([5, 4]);
  await destroyVolumes(pool, instanceOf());
  expect(existsSync(path)).toBe(false);
  expect(readdirSync(join(folder, "machines/default"))).toEqual([]);
});
