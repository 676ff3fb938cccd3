/** What real packages say that they bring, of Debian's and of RPM's kind, made here. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { sha256Of } from "../../system/digest.ts";
import { buildRpm } from "../rpm/testing/rpm-repository.ts";
import { listPackages, type PackageList } from "./package-lists.ts";

let folder: string;
let tree: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-lists-"));
  tree = join(folder, "tree");
  const put = (path: string, content = "") => {
    mkdirSync(join(tree, dirname(path)), { recursive: true });
    writeFileSync(join(tree, path), content);
  };
  put("usr/bin/shop");
  put("usr/lib/sysusers.d/shop.conf", "g shoppers -\n");
  put("usr/lib/systemd/system/shop.service", "[Unit]\nAfter=other.service\n[Install]\nAlias=store.service\n");
  put("usr/lib/systemd/system/shop\\x2dnight.service", "[Install]\nAlias=night.service\n");
  symlinkSync("shop", join(tree, "usr/bin/store"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function listOf(file: string): Promise<PackageList | undefined> {
  const work = { folder, cache: join(folder, "cache"), log: () => {} };
  const [list] = await listPackages(work, [
    { name: "shop", version: "1", file, sha256: await sha256Of(file) },
  ]);
  return list;
}

const FILES = [
  "/usr/bin/shop",
  "/usr/bin/store",
  "/usr/lib/systemd/system/shop.service",
  "/usr/lib/systemd/system/shop\\x2dnight.service",
  "/usr/lib/sysusers.d/shop.conf",
];

it("of a .deb: files, folders, scripts, groups and other names of units", async () => {
  mkdirSync(join(tree, "DEBIAN"));
  writeFileSync(
    join(tree, "DEBIAN/control"),
    "Package: shop\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: of a test\n",
  );
  writeFileSync(join(tree, "DEBIAN/postinst"), "#!/bin/sh\naddgroup --system buyers\n", { mode: 0o755 });
  const file = join(folder, "shop.deb");
  execFileSync("dpkg-deb", ["--root-owner-group", "-b", tree, file]);
  rmSync(join(tree, "DEBIAN"), { recursive: true });
  const list = await listOf(file);
  expect(list?.files.toSorted()).toEqual(FILES);
  expect(list?.folders).toContain("/usr/lib/sysusers.d");
  expect(list?.said).toMatch(/--system buyers$/m);
  expect(list?.said).toMatch(/^g shoppers -$/m);
  expect(list?.said).toMatch(/^Alias=store\.service$/m);
  expect(list?.said).toMatch(/^Alias=night\.service$/m);
  expect(list?.said).not.toContain("other.service");
  // It is kept: what it was made of is not needed any more.
  const sha256 = await sha256Of(file);
  rmSync(file);
  const work = { folder, cache: join(folder, "cache"), log: () => {} };
  expect(await listPackages(work, [{ name: "shop", version: "1", file, sha256 }])).toEqual([list]);
});

it("of an RPM just so", async () => {
  const file = await buildRpm(join(folder, "rpms"), { name: "shop", tree, script: "groupadd -r buyers" });
  const list = await listOf(file);
  expect(list?.files.toSorted()).toEqual(FILES);
  expect(list?.folders).toContain("/usr/lib/sysusers.d");
  expect(list?.said).toMatch(/^groupadd -r buyers$/m);
  expect(list?.said).toMatch(/^g shoppers -$/m);
  expect(list?.said).toMatch(/^Alias=store\.service$/m);
  expect(list?.said).not.toContain("other.service");
});
