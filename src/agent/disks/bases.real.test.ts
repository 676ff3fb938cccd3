/** A disk whose header was changed by whoever took its machine's QEMU over: as its user, by qemu-img or byte by byte. Needs root. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import { giveUp, ownFolder } from "../../system/testing/owned-folder.ts";
import { reachOf } from "../qemu/reach.ts";
import { IMAGE, instanceOf, poolAt } from "../testing/volumes.ts";
import { adoptBases, chainOf, ForeignDiskError } from "./bases.ts";
import { type Borrower, cloneDisks } from "./clones.ts";
import { Copies, StillPreparing } from "./copies.ts";
import { enclosedImg } from "./enclosed-img.ts";
import { LayersError } from "./layer-records.ts";
import { Layers } from "./layers.ts";
import { folderOf, layersOf, userOf } from "./volume-places.ts";
import { ensureVolumes } from "./volumes.ts";

const SECRET = "THE STORE OF THE CONTROL PLANE";
const [A, B] = ["aaaaaaaa", "bbbbbbbb"].map((s) => `${s}-0000-4000-8000-000000000000`) as [string, string];
const FACTS = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Stopped" } as const;

let at: string;
let secret: string;
let pool: Awaited<ReturnType<typeof poolAt>>;
let instance: Instance;
let folder: string;
let root: string;

beforeEach(async () => {
  at = ownFolder("vireo-bases-");
  chmodSync(at, 0o711);
  secret = join(at, "store.sqlite");
  writeFileSync(secret, SECRET.padEnd(512, "."));
  chmodSync(secret, 0o600);
  pool = await poolAt(join(at, "pool"), true);
  instance = instanceOf();
  await ensureVolumes(pool, IMAGE, instance);
  folder = folderOf(pool, instance);
  root = join(folder, "root.qcow2");
});
afterEach(() => {
  rmSync(at, { recursive: true, force: true });
  giveUp(at);
});

const { uid, gid } = userOf(instanceOf().spec);
const asMachine = (...command: string[]) =>
  execFileSync("setpriv", ["--reuid", `${uid}`, "--regid", `${gid}`, "--clear-groups", ...command]);
const rebase = (backing: string, format = "raw") =>
  asMachine("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", backing, "-F", format, root);

/** @returns the file of an image in another pool */
function library(): string {
  const images = join(at, "library/images");
  mkdirSync(images, { recursive: true });
  execFileSync("cp", [join(at, "pool/images/base.qcow2"), join(images, "older.qcow2")]);
  return join(images, "older.qcow2");
}

function patch(offset: number, bytes: Buffer): void {
  const file = openSync(root, "r+");
  writeSync(file, bytes, 0, bytes.length, offset);
}

/** What there is after it, as a disk or anywhere in it. */
const isLeaked = () =>
  readdirSync(join(at, "pool/machines"), { recursive: true, encoding: "utf8" }).some((name) => {
    const path = join(at, "pool/machines", name);
    return name.endsWith(".qcow2") && readFileSync(path, "latin1").includes(SECRET);
  });

const TAMPERED: Record<string, () => void> = {
  "a file of the host": () => rebase(secret),
  "a folder of the host": () => rebase("/etc"),
  "a file by a protocol": () => rebase(`file:${secret}`),
  "a file by options": () =>
    rebase(`json:${JSON.stringify({ driver: "raw", file: { driver: "file", filename: secret } })}`),
  "an address": () => rebase("nbd:127.0.0.1:10809"),
  "the right file, by way of another folder": () => rebase(`${at}/pool/images/../images/base.qcow2`, "qcow2"),
  "the right file, in another format": () => rebase(join(at, "pool/images/base.qcow2")),
  "the right file, without a format": () => patch(112, Buffer.from([0, 0, 0, 0])), // ends the extensions before the first
  "what is in its folder and no layer": () => rebase(join(folder, "seed.img")),
  itself: () => rebase(root, "qcow2"),
  encryption: () => patch(32, Buffer.from([0, 0, 0, 1])),
  "an external data file": () => patch(72, Buffer.from([0, 0, 0, 0, 0, 0, 0, 4])),
};

describe.each(Object.entries(TAMPERED))("a header that has come to name %s", (_, tamper) => {
  const isRefused = async (what: Promise<unknown>) => {
    const error = await what.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(ForeignDiskError);
    expect(String(error)).toMatch(/root[-a-f0-9]*\.qcow2 .*header|a ring/);
    expect(String(error)).toContain("delete the machine");
    expect(isLeaked()).toBe(false);
  };

  it("starts no machine, and is no way out of its enclosure", async () => {
    tamper();
    await isRefused(
      ensureVolumes(pool, IMAGE, { ...instance, spec: { ...instance.spec, volumesExist: true } }),
    );
    const disks = [{ path: root, format: "qcow2" as const, readOnly: false }];
    await isRefused(reachOf({ disks, nics: [], folders: [folder], accelerator: "tcg" } as never, at));
  });

  it("is not grown", async () => {
    tamper();
    await isRefused(ensureVolumes(pool, IMAGE, instanceOf({ volumesExist: true, diskSize: "2Mi" })));
  });

  it.each(["Full", "Linked"] as const)("is not cloned (%s)", async (mode) => {
    const layers = layersOf(pool, instance);
    await layers.begin(A);
    await layers.finish(A, FACTS);
    await layers.lend(A);
    tamper();
    const other = join(at, "pool/machines/default/other");
    mkdirSync(other, { mode: 0o711 });
    const user = { uid: uid + 1, gid };
    const to: Borrower = {
      folder: other,
      layers: new Layers(other, ["root"], user),
      user,
      disks: [{ name: "root" }],
    };
    const copies = new Copies();
    const clone = async () => {
      for (;;)
        try {
          const source = { mode, vm: "a", vmUid: "u", snapshotUid: A, storagePool: "default" };
          return await cloneDisks({ folder, layers }, to, source, copies);
        } catch (error) {
          if (!(error instanceof StillPreparing)) throw error;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
    };
    await isRefused(clone());
    expect(readdirSync(other).filter((name) => name.startsWith("root"))).toEqual([]);
  });

  it("is not merged when a snapshot is deleted", async () => {
    const layers = layersOf(pool, instance);
    for (const uid of [A, B]) {
      await layers.begin(uid);
      await layers.finish(uid, FACTS);
    }
    tamper();
    await isRefused(layers.remove(A, async () => false));
    await isRefused(layers.remove(B, async () => false));
  });
});

it("what is changed after it was looked at leads nowhere: qemu-img is the machine's user, and sees its disk alone", async () => {
  const [shown, copy] = [join(at, "shown.raw"), join(folder, "copy.raw")];
  const disk = { path: root, format: "qcow2" };
  // The secret is readable by everybody, and the machine's user reads it outside.
  chmodSync(secret, 0o644);
  writeFileSync(copy, "");
  asMachine("sh", "-c", `cat ${secret} > /dev/null`);
  execFileSync("chown", [`${uid}:${gid}`, copy]);
  const convert = (command: readonly string[]) => {
    rebase(secret);
    const [program = "", ...args] = [...command, "convert", "-f", "qcow2", "-O", "raw", root, copy];
    execFileSync(program, args, { stdio: "pipe" });
  };
  await expect(
    enclosedImg({ disk, writes: [], made: copy }, async (command) => convert(command)),
  ).rejects.toThrow(`${secret}': No such file`);
  expect(readFileSync(copy, "latin1")).not.toContain(SECRET);
  // It would have been there.
  execFileSync("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", root, shown]);
  expect(readFileSync(shown, "latin1")).toContain(SECRET);
});

it("a ring of layers is refused, and hangs nobody", async () => {
  const layers = layersOf(pool, instance);
  for (const uid of [A, B]) {
    await layers.begin(uid);
    await layers.finish(uid, FACTS);
  }
  rebase(join(folder, "root-aaaaaaaa0000.qcow2"), "qcow2");
  const refused = (what: Promise<unknown>) => expect(what).rejects.toThrow("a ring of files");
  await refused(layers.tree());
  await refused(layers.lend(A));
  await refused(layers.remove(A, async () => false));
  await refused(chainOf({ path: root, format: "qcow2" }));
});

it("a layer that another machine was lent is of no use to a third one", async () => {
  const layers = layersOf(pool, instance);
  await layers.begin(A);
  await layers.finish(A, FACTS);
  await layers.lend(A);
  const third = instanceOf({ vm: "third", vmUid: "99999999-0000-4000-8000-000000000000" });
  await ensureVolumes(pool, IMAGE, third);
  const path = join(folderOf(pool, third), "root.qcow2");
  execFileSync("qemu-img", ["rebase", "-u", "-f", "qcow2", "-b", root, "-F", "qcow2", path]);
  await expect(chainOf({ path, format: "qcow2" })).rejects.toThrow(`${path} has "${root}"`);
});

it("disks from before it was written down what they stand on are used: on an image of their pool, or what is known of them", async () => {
  const image = join(at, "pool/images/base.qcow2");
  rmSync(join(folder, "root.base"));
  expect(await chainOf({ path: root, format: "qcow2" })).toEqual([root, image]);
  // An image of another pool; its file of before it was built anew.
  const other = library();
  rebase(other, "qcow2");
  await expect(chainOf({ path: root, format: "qcow2" })).rejects.toThrow(ForeignDiskError);
  await adoptBases(folder, [dirname(other)]);
  expect(await chainOf({ path: root, format: "qcow2" })).toEqual([root, other]);
  // A template's layer: of the same namespace, and lent.
  const template = instanceOf({ vm: "t", vmUid: "99999999-0000-4000-8000-000000000000" });
  await ensureVolumes(pool, IMAGE, template);
  const lender = layersOf(pool, template);
  await lender.begin(A);
  await lender.finish(A, FACTS);
  const layer = join(folderOf(pool, template), "root.qcow2");
  rmSync(join(folder, "root.base"));
  rebase(layer, "qcow2");
  await adoptBases(folder, []);
  await expect(chainOf({ path: root, format: "qcow2" })).rejects.toThrow(ForeignDiskError);
  await lender.lend(A);
  await adoptBases(folder, []);
  expect(await chainOf({ path: root, format: "qcow2" })).toEqual([root, layer, image]);
  // Once it is known it stays.
  rebase(other, "qcow2");
  await adoptBases(folder, [dirname(other)]);
  await expect(chainOf({ path: root, format: "qcow2" })).rejects.toThrow(ForeignDiskError);
});

it("what is no file of an image is not taken for one: a link, or what is in another folder", async () => {
  const images = dirname(library());
  symlinkSync(secret, join(images, "link"));
  mkdirSync(join(images, "more"));
  writeFileSync(join(images, "more/deeper"), "");
  for (const backing of [secret, join(images, "link"), join(images, "more/deeper"), join(images, "more")]) {
    rmSync(join(folder, "root.base"), { force: true });
    rebase(backing);
    await adoptBases(folder, [images]);
    await expect(chainOf({ path: root, format: "qcow2" })).rejects.toThrow(ForeignDiskError);
  }
});

describe("a linked clone from before it was written down what disks stand on", () => {
  const machine = (vm: string, more: Partial<Instance["spec"]> = {}) =>
    instanceOf({ vm, vmUid: `${vm.repeat(8)}-0000-4000-8000-000000000000`, ...more });
  const lend = async (of: Instance, uid: string) => {
    const layers = layersOf(pool, of);
    await layers.begin(uid);
    await layers.finish(uid, FACTS);
    await layers.lend(uid);
  };
  const source = (of: Instance, snapshotUid: string) => ({
    source: {
      mode: "Linked",
      vm: of.spec.vm,
      vmUid: of.spec.vmUid,
      snapshotUid,
      storagePool: "default",
    } as const,
  });
  const more = () => ({
    copies: new Copies(),
    imageNamed: async () => undefined,
    sourcePool: pool,
    imageFolders: [join(at, "pool/images"), join(at, "library/images")],
  });
  /** As an older version has made them. */
  const forget = (...machines: Instance[]) => {
    for (const each of machines) rmSync(join(folderOf(pool, each), "root.base"));
  };
  const rootOf = (of: Instance) => join(folderOf(pool, of), "root.qcow2");

  it("starts, and is cloned, as are those of clones; the image was in another pool", async () => {
    const other = library();
    const b = machine("b");
    const c = machine("c", source(b, A));
    const d = machine("d", source(c, B));
    await ensureVolumes(pool, IMAGE, b, more());
    execFileSync("qemu-img", ["rebase", "-u", "-f", "qcow2", "-b", other, "-F", "qcow2", rootOf(b)]);
    writeFileSync(join(folderOf(pool, b), "root.base"), JSON.stringify({ path: other, format: "qcow2" }));
    await lend(b, A);
    await ensureVolumes(pool, IMAGE, c, more());
    await lend(c, B);
    forget(b, c);
    // A new one of the clone; two at once find the same.
    const started = { ...c, spec: { ...c.spec, volumesExist: true } };
    await Promise.all([ensureVolumes(pool, IMAGE, d, more()), ensureVolumes(pool, IMAGE, started, more())]);
    const chain = [rootOf(d), rootOf(c), rootOf(b), other];
    expect(await chainOf({ path: rootOf(d), format: "qcow2" })).toEqual(chain);
    // One that is there.
    forget(b, c, d);
    await expect(chainOf({ path: rootOf(d), format: "qcow2" })).rejects.toThrow(ForeignDiskError);
    await ensureVolumes(pool, IMAGE, { ...d, spec: { ...d.spec, volumesExist: true } }, more());
    expect(await chainOf({ path: rootOf(d), format: "qcow2" })).toEqual(chain);
    expect(readdirSync(folderOf(pool, b)).filter((name) => name.endsWith(".new"))).toEqual([]);
  });
});

it("a layer that is gone is told by who needs it; a link in its place is foreign", async () => {
  const layers = layersOf(pool, instance);
  for (const uid of [A, B]) {
    await layers.begin(uid);
    await layers.finish(uid, FACTS);
  }
  renameSync(root, join(at, "aside"));
  expect((await layers.tree()).tree).toHaveLength(2);
  for (const uid of [A, B])
    await expect(layers.prepareRevert("cccccccc-0000-4000-8000-000000000000", uid)).rejects.toThrow(
      `the snapshot's disks are not whole: ${root} is gone; bring it back, or choose another snapshot`,
    );
  const started = { ...instance, spec: { ...instance.spec, volumesExist: true } };
  const gone = `${root} is gone, which ${join(folder, "root-bbbbbbbb0000.qcow2")} stands on; bring it back`;
  await expect(ensureVolumes(pool, IMAGE, started)).rejects.toThrow(gone);
  await expect(layers.remove(B, async () => false)).rejects.toThrow(LayersError);
  symlinkSync(join(at, "aside"), root);
  await expect(layers.tree()).rejects.toThrow(ForeignDiskError);
});
