/** What an image is made of, looked at closely: ELF files, what is left out, identifiers in disk files, rules of formats, estimates. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkImage } from "../checks.ts";
import { crc32c } from "../formats/disk-ids.ts";
import type { Image } from "../kinds.ts";
import type { Recipe } from "../recipe.ts";
import { readElf } from "../rootfs/elf.ts";
import { alternativesOf } from "../slim/alternatives.ts";
import { minimize } from "../slim/minimize.ts";
import { minimizeTraced } from "../slim/minimize-traced.ts";
import { estimate } from "./estimate.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-parts-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A program that every machine has. */
const shell = () => readFileSync("/bin/sh");

describe("an ELF file", () => {
  it("tells what it needs", () => {
    const elf = readElf(shell());
    expect(elf).toMatchObject({ isProgram: true, interpreter: "/lib64/ld-linux-x86-64.so.2" });
    expect(elf?.needed).toContain("libc.so.6");
  });
  it("that is damaged, or none, is none", () => {
    expect(readElf(Buffer.from("#!/bin/sh\n"))).toBeUndefined();
    expect(readElf(shell().subarray(0, 100))).toBeUndefined();
    const wild = Buffer.from(shell());
    wild.writeBigUInt64LE(2n ** 62n, 32); // its segments are said to be beyond its end
    expect(readElf(wild)).toBeUndefined();
  });
});

it("of packages that a run was watched with no more stays than it used, what that needs, and configuration; others that are named stay whole", async () => {
  const root = join(folder, "traced");
  const put = (path: string, content = "x") => {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  const libraries = "/usr/lib/x86_64-linux-gnu";
  for (const each of ["bin", "lib", "lib64"]) {
    mkdirSync(join(root, "usr", each), { recursive: true });
    symlinkSync(`usr/${each}`, join(root, each));
  }
  put("/usr/bin/sh", "");
  copyFileSync("/bin/sh", join(root, "usr/bin/sh"));
  put(`${libraries}/libc.so.6`);
  put(`${libraries}/libother.so.1`);
  put("/usr/lib64/ld-linux-x86-64.so.2");
  const language = [
    "/usr/share/lang/used.py",
    "/usr/share/lang/unused.py",
    "/usr/bin/lang-3",
    "/etc/lang.conf",
  ];
  for (const path of [
    ...language,
    "/usr/share/plugin/a",
    "/usr/share/comes/data",
    "/usr/sbin/base",
    "/opt/own",
    "/usr/bin/started",
  ])
    put(path);
  symlinkSync("lang-3", join(root, "usr/bin/lang"));
  symlinkSync("lang-3", join(root, "usr/bin/lang-too"));
  symlinkSync("../share/lang/unused.py", join(root, "usr/bin/lang-unused"));
  symlinkSync("lang", join(root, "usr/share/lang-3"));
  const layers = [
    { name: "dash", paths: ["/usr/bin/sh"] },
    { name: "libc6", paths: [`${libraries}/libc.so.6`, "/usr/lib64/ld-linux-x86-64.so.2", libraries] },
    {
      name: "lang",
      paths: [
        ...language,
        "/usr/bin/lang",
        "/usr/bin/lang-too",
        "/usr/bin/lang-unused",
        "/usr/share/lang",
        "/usr/share/lang-3",
      ],
    },
    { name: "plugin", paths: ["/usr/share/plugin/a"] },
    { name: "comes", paths: ["/usr/share/comes/data", `${libraries}/libother.so.1`, "/usr/bin/started"] },
    { name: "netbase", paths: ["/usr/sbin/base"] },
  ];
  const recipe: Recipe = {
    distribution: "debian",
    release: "bookworm",
    packages: ["lang", "plugin"],
    services: [{ name: "a", command: "started now" }],
    // As other systems have them: through links, and what is not there.
    traced: ["/bin/sh", "/usr/share/lang/used.py", "/usr/bin/lang", "/usr/share/gone"],
  };
  const result = await minimizeTraced(root, recipe, {
    layers,
    base: new Set(["netbase"]),
    brought: ["/opt/own"],
  });
  expect(result.removed).toEqual([
    { path: "/usr/bin/lang-unused", bytes: 0 },
    { path: `${libraries}/libother.so.1`, bytes: 1 },
    { path: "/usr/share/comes/data", bytes: 1 },
    { path: "/usr/share/lang/unused.py", bytes: 1 },
  ]);
  expect(result.unknown).toEqual(["/usr/share/gone"]);
  for (const { path } of result.removed) expect(existsSync(join(root, path)), path).toBe(false);
  for (const path of [
    "/usr/bin/lang",
    "/usr/share/lang-3/used.py",
    "/usr/bin/started",
    "/usr/share/plugin/a",
    "/usr/sbin/base",
    "/opt/own",
    `${libraries}/libc.so.6`,
  ])
    expect(existsSync(join(root, path)), path).toBe(true);
});

it("alternatives are what scripts say in plain words: with continued lines and slaves; not with variables", () => {
  const script = `update-alternatives --install /usr/lib/x/libblas.so.3 \\
    libblas.so.3-x /usr/lib/x/blas/libblas.so.3 10
if true; then update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 \\
  --slave /usr/bin/nawk nawk /usr/bin/mawk; fi
update-alternatives --install /usr/bin/java java $basedir/bin/java 1
update-alternatives --remove awk /usr/bin/mawk`;
  expect(alternativesOf(script)).toEqual([
    { link: "/usr/lib/x/libblas.so.3", target: "/usr/lib/x/blas/libblas.so.3", priority: 10 },
    { link: "/usr/bin/awk", target: "/usr/bin/mawk", priority: 5 },
    { link: "/usr/bin/nawk", target: "/usr/bin/mawk", priority: 5 },
  ]);
});

it("links of the alternatives system are known from variables of a script, and from its loops, when they have one value", () => {
  const script = `priority=1711
jvm=/usr/lib/jvm
base=$jvm/java-17
tools='java keytool'
if old; then priority=$(expr $priority - 1); fi
case $arch in a) place=/usr/a;; b) place=/usr/b;; esac
place=/usr/a
place=/usr/b
for i in $tools; do
  unset slave
  update-alternatives \\
    --install \\
    /usr/bin/$i $i \${base}/bin/$i $priority $slave
done
for i in $(list); do update-alternatives --install /usr/bin/$i $i $base/lib/$i $priority; done
update-alternatives --install /usr/bin/x x $place/x 1
update-alternatives --install /usr/bin/jexec jexec $base/lib/jexec $priority --slave /usr/share/binfmts/jar jar $base/lib/jar`;
  expect(alternativesOf(script)).toEqual([
    { link: "/usr/bin/java", target: "/usr/lib/jvm/java-17/bin/java", priority: 1711 },
    { link: "/usr/bin/keytool", target: "/usr/lib/jvm/java-17/bin/keytool", priority: 1711 },
    { link: "/usr/bin/jexec", target: "/usr/lib/jvm/java-17/lib/jexec", priority: 1711 },
    { link: "/usr/share/binfmts/jar", target: "/usr/lib/jvm/java-17/lib/jar", priority: 1711 },
  ]);
});

it("scripts that are too large, or make too much of themselves, have none, at once", () => {
  expect(alternativesOf("for i in a; do\n".repeat(70_000))).toBeUndefined();
  expect(alternativesOf("for i in a; do\n".repeat(4_000))).toEqual([]);
  expect(alternativesOf(`for i in ${" ".repeat(60_000)}x`)).toEqual([]);
  const doubling = Array.from({ length: 20 }, (_, i) => `a${i}="${`$a${i + 1} `.repeat(30)}"\n`).join("");
  expect(alternativesOf(`${doubling}${"$a0 ".repeat(5_000)}`)).toBeUndefined();
  const list = `a="${"x ".repeat(15_000)}"\n`;
  expect(alternativesOf(`${list}${"for i in $a; do\ndone\n".repeat(1_000)}`)).toBeUndefined();
  const link = "update-alternatives --install /usr/bin/$i $i /opt/$i 1";
  expect(
    alternativesOf(`for i in ${"x".repeat(30_000)}; do\n${"$i\n".repeat(5_000)}done\n${link}`),
  ).toBeUndefined();
  // What is before and after them counts.
  expect(alternativesOf(`for i in a\ndo ${link}\ndone; ${link.replaceAll("$i", "b")}`)).toEqual([
    { link: "/usr/bin/a", target: "/opt/a", priority: 1 },
    { link: "/usr/bin/b", target: "/opt/b", priority: 1 },
  ]);
});

describe("what nothing needs", () => {
  const recipe: Recipe = {
    distribution: "debian",
    release: "bookworm",
    packages: ["mine"],
    services: [{ name: "a", command: "/usr/bin/sh -c run-it" }],
    files: [{ path: "/usr/bin/run-it", content: "#!/usr/bin/env other\nby-word x\n", mode: "0755" }],
  };
  it("is left out, and nothing else", async () => {
    const root = join(folder, "root");
    const put = (path: string, from?: string) => {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      if (from) copyFileSync(from, join(root, path));
      else writeFileSync(join(root, path), "#!/usr/bin/sh\n");
    };
    const libraries = "/usr/lib/x86_64-linux-gnu";
    put("/usr/bin/sh", "/bin/sh");
    put(`${libraries}/libc-2.so`, "/lib/x86_64-linux-gnu/libc.so.6");
    symlinkSync("libc-2.so", join(root, libraries, "libc.so.6"));
    put(`${libraries}/ld-linux-x86-64.so.2`, "/lib64/ld-linux-x86-64.so.2");
    mkdirSync(join(root, "usr/lib64"), { recursive: true });
    symlinkSync(`../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2`, join(root, "usr/lib64/ld-linux-x86-64.so.2"));
    symlinkSync("usr/lib64", join(root, "lib64"));
    put(`${libraries}/libunused.so.1`, "/lib/x86_64-linux-gnu/libc.so.6");
    put(`${libraries}/plugins/one.so`, "/bin/sh");
    put("/usr/bin/run-it");
    put("/usr/bin/other");
    put("/usr/bin/by-word");
    put("/usr/bin/mine");
    put("/usr/sbin/unused");
    put("/usr/share/data");
    expect(await minimize(root, recipe, { brought: [], own: ["/usr/bin/mine"] })).toEqual([
      `${libraries}/libunused.so.1`,
      "/usr/sbin/unused",
    ]);
    for (const path of ["/usr/bin/other", "/usr/bin/by-word", `${libraries}/libc.so.6`, "/usr/share/data"])
      expect(existsSync(join(root, path)), path).toBe(true);
    expect(existsSync(join(root, "lib64/ld-linux-x86-64.so.2"))).toBe(true);
  });
});

it("the checksum of VHDX is Castagnoli's", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
});

describe("formats", () => {
  const causes = (more: Partial<Recipe>) => {
    const recipe: Recipe = { distribution: "debian", release: "bookworm", packages: [], ...more };
    const image: Image = {
      apiVersion: "vireo.dev/v1",
      kind: "Image",
      metadata: { name: "web" },
      spec: { storagePool: "default", recipe },
    };
    return checkImage(image, undefined, { list: () => [] }).map(
      ({ field, message }) => `${field}: ${message}`,
    );
  };
  it("for other hypervisors need a boot loader, those without a disk a root in memory", () => {
    expect(causes({ formats: ["raw", "ova"] })).toEqual([
      expect.stringMatching(/^spec\.recipe\.formats\[1\]: .*no boot loader; set spec\.recipe\.boot to both$/),
    ]);
    expect(causes({ formats: ["pxe", "iso"], boot: "both" })).toEqual([
      expect.stringMatching(/formats\[0\]: .*set spec\.recipe\.root to ram$/),
      expect.stringMatching(/formats\[1\]: .*set spec\.recipe\.root to ram$/),
    ]);
    expect(causes({ formats: ["pxe", "iso", "ova"], boot: "both", root: "ram" })).toEqual([]);
  });
  it("a size of a root that is not on the disk is refused", () => {
    expect(causes({ root: "ram", diskMiB: 64 })).toEqual([
      expect.stringMatching(/^spec\.recipe\.diskMiB: Forbidden/),
    ]);
  });
});

describe("how far a build is", () => {
  it("is told by how long its stages took before, or by their number", () => {
    const before = new Map([
      ["packages", 1],
      ["unpack", 2],
      ["initrd", 3],
      ["disk", 3],
      ["formats", 1],
    ]);
    expect(estimate(before, "initrd")).toEqual({ percent: 30, secondsLeft: 7 });
    expect(estimate(before, "disk", ["packages", "unpack", "initrd", "disk"])).toEqual({
      percent: 66,
      secondsLeft: 3,
    });
    expect(estimate(new Map(), "initrd")).toEqual({ percent: 40 });
  });
});
