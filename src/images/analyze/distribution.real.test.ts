/** Needs become packages, by an index of lists of files. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Contents, indexContents } from "../packages/contents.ts";
import { findPackages, forRecipe, markBrought } from "./distribution.ts";
import type { Need } from "./needs.ts";

const LIST = `bin/sed utils/sed
etc/app.conf misc/app-common
usr/bin/tool utils/tool
usr/lib/os-release admin/base-files
usr/lib/python3.11/json/__init__.py python/libpython3.11-minimal
usr/lib/x86_64-linux-gnu/blas/libblas.so.3 libs/libblas3
usr/lib/x86_64-linux-gnu/libjack.so.0 libs/libjack-jackd2-0,libs/libjack0
usr/lib/x86_64-linux-gnu/libm3/a.so libs/libm3
usr/lib/x86_64-linux-gnu/libm3/b.so libs/m3-tests
usr/lib/x86_64-linux-gnu/libz.so.1 libs/zlib1g
usr/lib/x86_64-linux-gnu/openblas/libblas.so.3 libs/libopenblas0
usr/lib/x86_64-linux-gnu/shared/a.so libs/liba
usr/lib/x86_64-linux-gnu/shared/b.so libs/libb
`;

let folder = "";
let contents: Contents;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vireo-distribution-"));
  await writeFile(join(folder, "list"), LIST);
  await indexContents([join(folder, "list")], join(folder, "index"));
  contents = await Contents.open(join(folder, "index"));
});
afterAll(async () => {
  await contents.close();
  await rm(folder, { recursive: true, force: true });
});

const need = (what: string, paths: string[], more: Partial<Need> = {}): Need => ({
  file: "app",
  how: "linked",
  what,
  paths,
  confidence: "certain",
  ...more,
});
const packages = async (...needs: Need[]) =>
  (await findPackages(contents, needs)).findings.map((finding) => finding.package);

it("the first path that a package has; a library also in folders of its own, of the package that is named after it", async () => {
  expect(await packages(need("libz.so.1", ["usr/lib/nosuch", "usr/lib/x86_64-linux-gnu/libz.so.1"]))).toEqual(
    ["zlib1g"],
  );
  expect(await packages(need("libblas.so.3", ["usr/lib/libblas.so.3"], { soname: "libblas.so.3" }))).toEqual([
    "libblas3",
  ]);
  const jack = need("libjack.so.0", ["usr/lib/x86_64-linux-gnu/libjack.so.0"], { soname: "libjack.so.0" });
  expect((await findPackages(contents, [jack])).findings).toMatchObject([
    { package: "libjack0", alternatives: ["libjack-jackd2-0"] },
  ]);
  // Part of a language's runtime: the whole.
  expect(await packages(need("json", ["usr/lib/python3.11/json/__init__.py"]))).toEqual(["python3"]);
});

it("a folder that several packages share says nothing, unless one has its name", async () => {
  const folderOf = (name: string) => need(name, [`usr/lib/x86_64-linux-gnu/${name}/*.so`]);
  expect(await packages(folderOf("libm3"))).toEqual(["libm3"]);
  const { findings, missing } = await findPackages(contents, [folderOf("shared")]);
  expect(findings).toEqual([]);
  expect(missing).toMatchObject([{ what: "shared" }]);
});

it("in the recipe: the surest word counts; neither what is only possible, nor what busybox does, nor what others bring", async () => {
  const tool = need("tool", ["usr/bin/tool"], { confidence: "possible" });
  const { findings } = await findPackages(contents, [
    tool,
    need("sed", ["usr/bin/sed"], { how: "runs", confidence: "likely" }),
    need("libz.so.1", ["usr/lib/x86_64-linux-gnu/libz.so.1"]),
    need("/etc/app.conf", ["etc/app.conf"], { how: "opened" }),
    need("/etc/os-release", ["usr/lib/os-release"], { how: "opened" }),
  ]);
  const chosen = () => forRecipe(findings).map((finding) => finding.package);
  expect(chosen()).toEqual(["app-common", "base-files", "zlib1g"]);
  await markBrought(findings, async (names) => {
    expect(names).toEqual(["app-common", "base-files", "zlib1g"]);
    return new Map([["zlib1g", "app-common"]]);
  });
  expect(chosen()).toEqual(["app-common", "base-files"]);
  const [sure] = (await findPackages(contents, [tool, { ...tool, confidence: "likely" }])).findings;
  expect(sure).toMatchObject({
    confidence: "likely",
    evidence: [{ confidence: "likely" }, { confidence: "possible" }],
  });
});
