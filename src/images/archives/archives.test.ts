/** Archives of recipes: made of files here, sent to a build in parts, put into an image's root and nowhere else, gone when nobody names them. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { withArchives } from "../../cli/image-archives.ts";
import { sha256Of } from "../../system/digest.ts";
import type { Recipe } from "../recipe.ts";
import { packTar } from "./pack.ts";
import {
  archiveFile,
  archivesFolder,
  lastPartMs,
  makeFolder,
  missingArchives,
  nameWhole,
  receivedOf,
  receivePart,
  removeUnnamed,
} from "./store.ts";
import { unpackArchives } from "./unpack.ts";

let folder = "";
let store = "";
const at = (...names: string[]) => join(folder, ...names);
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-archives-"));
  store = archivesFolder(at("images"));
  await makeFolder(store);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const recipeOf = (...archives: NonNullable<Recipe["archives"]>): Recipe => ({
  distribution: "debian",
  release: "bookworm",
  packages: [],
  archives,
});
/** As if it had been sent. */
async function kept(tar: string, path?: string) {
  const sha256 = await sha256Of(tar);
  execFileSync("cp", [tar, archiveFile(store, sha256)]);
  return { file: "a.tar", sha256, bytes: statSync(tar).size, ...(path ? { path } : {}) };
}

describe("in an image's root", () => {
  it("files, modes and links are those that were packed, long names too; tar reads it, and it is the same each time", async () => {
    const deep = `${"d".repeat(60)}/${"e".repeat(60)}/${"f".repeat(60)}`;
    writeFileSync(at("run"), "#!/bin/sh\n");
    writeFileSync(at("big"), Buffer.alloc(3_000_001, 7));
    writeFileSync(at("none"), "");
    const entries = [
      { name: deep, path: at("big"), bytes: 3_000_001, mode: 0o644 },
      { name: "bin/run", path: at("run"), bytes: 10, mode: 0o755 },
      { name: "none", path: at("none"), bytes: 0, mode: 0o600 },
      { name: "bin/link", target: `../${deep}` },
    ];
    await packTar(at("a.tar"), entries);
    utimesSync(at("big"), 1, 1);
    await packTar(at("b.tar"), entries.toReversed());
    expect(readFileSync(at("a.tar")).equals(readFileSync(at("b.tar")))).toBe(true);
    expect(
      execFileSync("tar", ["-tf", at("a.tar")], { encoding: "utf8" })
        .trim()
        .split("\n")
        .sort(),
    ).toEqual(["bin/link", "bin/run", deep, "none"].sort());
    const recipe = recipeOf(await kept(at("a.tar"), "/opt/app"));
    const [layer] = await unpackArchives(at("root"), recipe, store);
    expect(layer?.paths.sort()).toEqual(
      ["/opt/app/bin/link", "/opt/app/bin/run", `/opt/app/${deep}`, "/opt/app/none"].sort(),
    );
    expect(readFileSync(at("root/opt/app/bin/link")).equals(readFileSync(at("big")))).toBe(true);
    expect(statSync(at("root/opt/app/bin/run")).mode & 0o7777).toBe(0o755);
    expect(statSync(at("root/opt/app/none")).mode & 0o7777).toBe(0o600);
  });

  it("no link leads out of it, whoever's it is; hard links are files; what is no file is refused", async () => {
    mkdirSync(at("victim"));
    mkdirSync(at("root/usr/bin"), { recursive: true });
    symlinkSync("usr/bin", at("root/bin"));
    // Absolute in the image is the image's.
    symlinkSync(at("victim"), at("root/out"));
    mkdirSync(at("tree/bin"), { recursive: true });
    mkdirSync(at("tree/out"));
    writeFileSync(at("tree/bin/tool"), "tool");
    execFileSync("ln", [at("tree/bin/tool"), at("tree/bin/same")]);
    writeFileSync(at("tree/out/file"), "in");
    execFileSync("tar", ["-C", at("tree"), "-cf", at("t.tar"), "./bin", "./out/file"]);
    await unpackArchives(at("root"), recipeOf(await kept(at("t.tar"))), store);
    expect(readFileSync(at("root/usr/bin/same"), "utf8")).toBe("tool");
    // It takes its room once.
    expect(statSync(at("root/usr/bin/same")).ino).toBe(statSync(at("root/usr/bin/tool")).ino);
    expect(readlinkSync(at("root/bin"))).toBe("usr/bin");
    expect(readdirSync(at("victim"))).toEqual([]);
    expect(readFileSync(join(at("root"), at("victim"), "file"), "utf8")).toBe("in");
    // A link that the archive brings is no way out, either.
    mkdirSync(at("evil"));
    symlinkSync("../../../../../../victim", at("evil/up"));
    execFileSync("tar", ["-C", at("evil"), "-cf", at("e.tar"), "up"]);
    mkdirSync(at("evil2/up"), { recursive: true });
    writeFileSync(at("evil2/up/x"), "x");
    execFileSync("tar", ["-C", at("evil2"), "-rf", at("e.tar"), "up/x"]);
    await unpackArchives(at("root"), recipeOf(await kept(at("e.tar"))), store);
    expect(readdirSync(at("victim"))).toEqual([]);
    expect(readFileSync(at("root/victim/x"), "utf8")).toBe("x");

    execFileSync("tar", [
      "-C",
      at("tree"),
      "-P",
      "--transform=s,^bin,../bin,",
      "-cf",
      at("d.tar"),
      "bin/tool",
    ]);
    await expect(unpackArchives(at("root"), recipeOf(await kept(at("d.tar"))), store)).rejects.toThrow(
      "recipe.archives[0]: a.tar has ../bin/tool, which leads out of it",
    );
    execFileSync("mkfifo", [at("tree/pipe")]);
    execFileSync("tar", ["-C", at("tree"), "-cf", at("p.tar"), "pipe"]);
    await expect(unpackArchives(at("root"), recipeOf(await kept(at("p.tar"))), store)).rejects.toThrow(
      "recipe.archives[0]: a.tar pipe: is a pipe",
    );
    writeFileSync(at("z.tar"), Buffer.alloc(1024, 1));
    await expect(unpackArchives(at("root"), recipeOf(await kept(at("z.tar"))), store)).rejects.toThrow(
      "is a damaged tar archive",
    );
  });

  it("what belongs to others does not become a program with root's rights", async () => {
    mkdirSync(at("tree/tmp"), { recursive: true });
    writeFileSync(at("tree/su"), "su");
    execFileSync("chmod", ["6755", at("tree/su")]);
    execFileSync("chmod", ["3777", at("tree/tmp")]);
    execFileSync("tar", ["-C", at("tree"), "--owner=shop:1000", "-cf", at("s.tar"), "su", "tmp"]);
    await unpackArchives(at("root"), recipeOf(await kept(at("s.tar"))), store);
    expect(statSync(at("root/su")).mode & 0o7777).toBe(0o755);
    expect(statSync(at("root/tmp")).mode & 0o7777).toBe(0o1777);
  });

  it("what cannot be unpacked is told in the archive's names", async () => {
    mkdirSync(at("tree/d"), { recursive: true });
    writeFileSync(at("tree/d/a"), "a");
    execFileSync("ln", [at("tree/d/a"), at("tree/d/b")]);
    execFileSync("truncate", ["-s", "1M", at("tree/holes")]);
    const tar = (name: string, ...args: string[]) =>
      execFileSync("tar", ["-C", at("tree"), "-cf", at(name), ...args]);
    const refused = async (name: string, text: string) =>
      expect(await unpackArchives(at("root"), recipeOf(await kept(at(name))), store).catch(String)).toBe(
        `Error: recipe.archives[0]: a.tar ${text}`,
      );
    tar("link.tar", "d/a", "d/b");
    execFileSync("tar", ["--delete", "-f", at("link.tar"), "d/a"]);
    await refused("link.tar", "d/b: is a hard link to d/a, which is not in the image");
    rmSync(at("root"), { recursive: true, force: true });
    mkdirSync(at("root"));
    writeFileSync(at("root/d"), "a file");
    tar("dir.tar", "d");
    await refused("dir.tar", "d/: there is a file where its folder should be");
    tar("file.tar", "d/a");
    await refused("file.tar", "d/a: there is a file where its folder should be");
    for (const format of ["posix", "gnu"]) {
      tar(`${format}.tar`, "--sparse", `--format=${format}`, "holes");
      await refused(
        `${format}.tar`,
        `${format === "gnu" ? "holes: is a" : "has a"} file with holes; make the archive without --sparse`,
      );
    }
    execFileSync("gzip", [at("file.tar")]);
    await refused("file.tar.gz", "is compressed: unpack it with gzip -d");
    const made = withArchives({ archives: [{ file: "file.tar.gz" }] }, at("web.yaml"));
    await expect(made).rejects.toThrow(
      `web.yaml: archives[0].file: ${at("file.tar.gz")} is compressed: unpack it with gzip -d`,
    );
    await expect(withArchives({ archives: [{ file: "tree" }] }, at("web.yaml"))).rejects.toThrow(
      `archives[0].file: ${at("tree")} is no file`,
    );
  });

  it("one that is missing, or was changed in the pool, is told of by its field", async () => {
    const archive = { file: "a.tar", sha256: "1".repeat(64), bytes: 1024 };
    await expect(unpackArchives(at("root"), recipeOf(archive), store)).rejects.toThrow(
      "recipe.archives[0]: a.tar is not in the storage pool",
    );
    writeFileSync(archiveFile(store, archive.sha256), "x");
    await expect(unpackArchives(at("root"), recipeOf(archive), store)).rejects.toThrow(
      "was changed in the storage pool",
    );
  });
});

it("comes in parts, and is there when its sha256 is right; another file leaves nothing", async () => {
  const bytes = Buffer.alloc(3000, 5);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const archive = { file: "a.tar", sha256, bytes: 3000 };
  const build = { metadata: { name: "web-1", uid: "12345678-9" } };
  const other = { metadata: { name: "web-2", uid: "87654321-9" } };
  await receivePart(store, archive, build, 0, bytes.subarray(0, 1000));
  expect(await receivedOf(store, archive, build)).toBe(1000);
  expect(await receivedOf(store, archive, other)).toBe(0);
  expect(await missingArchives(store, [archive])).toEqual([archive]);
  expect(await nameWhole(store, [archive], build)).toBeUndefined();
  await receivePart(store, archive, build, 1000, Buffer.alloc(2000));
  expect(await nameWhole(store, [archive], build)).toEqual(archive);
  expect(readdirSync(store)).toEqual([]);
  await receivePart(store, archive, build, 0, bytes.subarray(0, 1000));
  await receivePart(store, archive, build, 1000, bytes.subarray(1000));
  // All is there, and whoever goes on sends nothing: it gets its name nevertheless, and what comes behind it has its time.
  expect(await receivedOf(store, archive, build)).toBe(3000);
  const second = { ...archive, sha256: "2".repeat(64) };
  expect(await lastPartMs(store, [second], build)).toBe(0);
  expect(await nameWhole(store, [archive, second], build)).toBeUndefined();
  expect(Date.now() - (await lastPartMs(store, [archive, second], build))).toBeLessThan(60_000);
  expect(await missingArchives(store, [archive, second])).toEqual([second]);
  // Whoever names it later has it already, and for a while.
  utimesSync(archiveFile(store, sha256), 1, 1);
  expect(await receivedOf(store, archive, other)).toBe(3000);
  expect(await removeUnnamed(at("images"), async () => [], 60_000, Date.now())).toEqual([]);
});

it("goes when no recipe names it any more, and parts with their build; not what has just come, nor when it is not known who names it", async () => {
  const [named, gone, fresh] = ["a", "b", "c"].map((each) => each.repeat(64));
  const names = [named, gone, `${named}.aaaaaaaa.part`, `${named}.bbbbbbbb.part`].map((name) => `${name}`);
  for (const name of [...names, `${fresh}`]) writeFileSync(join(store, name), "");
  for (const name of names) utimesSync(join(store, name), 1, 1);
  const archives = [{ file: "a.tar", sha256: `${named}`, bytes: 1024 }];
  const recipe = { ...recipeOf(), archives };
  const image = {
    apiVersion: "vireo.dev/v1",
    kind: "Image",
    metadata: { name: "web", uid: "aaaaaaaa-1" },
    spec: { storagePool: "default", recipe },
  };
  const remove = (all: (typeof image)[] | undefined) =>
    removeUnnamed(at("images"), async () => all, 60_000, Date.now());
  expect(await remove(undefined)).toEqual([]);
  // The image gets its recipe while the first lists are read.
  const lists = [[], [image]];
  const removed = await removeUnnamed(at("images"), async () => lists.shift(), 60_000, Date.now());
  expect(removed.sort()).toEqual([gone, `${named}.bbbbbbbb.part`].sort());
  expect(existsSync(join(store, `${named}`))).toBe(true);
  expect(existsSync(join(store, `${fresh}`))).toBe(true);
});
