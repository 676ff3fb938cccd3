/** Package lists and what comes with packages, by small lists. The real ones: closure.real.test.ts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { relations, satisfies } from "./control.ts";
import { IndexFile, writeIndex } from "./index-file.ts";
import { compareVersions } from "./version.ts";

describe("versions", () => {
  it.each([
    ["1.0", "1.0", 0],
    ["1.0~rc1", "1.0", -1],
    ["1.0", "1.0-1", -1],
    ["1:0.9", "2.0", 1],
    ["1.10", "1.9", 1],
    ["1.0+b1", "1.0a", 1],
    ["2.36-9+deb12u14", "2.36-9+deb12u9", 1],
    ["7.5.0~~", "7.5.0~", -1],
    ["0.0", "0", 1],
  ])("%s and %s are ordered as dpkg does", (a, b, order) => {
    expect(Math.sign(compareVersions(a, b))).toBe(order);
    expect(Math.sign(compareVersions(b, a))).toBe(order === 0 ? 0 : -order);
  });

  it("are what a relation asks for, or not", () => {
    const [[old]] = relations("libc6:any (<< 2.30)") as [[{ name: string; op: "<<"; version: string }]];
    expect(old).toEqual({ name: "libc6", op: "<<", version: "2.30" });
    expect(satisfies("2.29", old)).toBe(true);
    expect(satisfies("2.30", old)).toBe(false);
  });
});

const stanza = (name: string, fields: Record<string, string> = {}) =>
  Object.entries({
    Package: name,
    Version: "1.0",
    Section: "misc",
    Priority: "optional",
    Size: "1000",
    "Installed-Size": "3",
    Description: `the package ${name}`,
    ...fields,
  })
    .map(([field, value]) => `${field}: ${value}`)
    .join("\n");

const MAIN = [
  stanza("web", {
    Section: "httpd",
    "Pre-Depends": "plumbing (>= 7)",
    Depends: "libold (>= 2) | libnew, mail-transport,\n perl",
    Description: "small Web server",
  }),
  stanza("libnew", { Section: "libs" }),
  stanza("libold", { Section: "contrib/libs" }),
  stanza("perl"),
  stanza("exim", { Provides: "mail-transport (= 2)", Conflicts: "mail-transport" }),
  stanza("postfix", { Provides: "mail-transport", Conflicts: "mail-transport", Priority: "standard" }),
  stanza("broken", { Depends: "web, nowhere" }),
  stanza("web-tools", { Depends: "web | broken, broken | perl" }),
].join("\n\n");
const SECURITY = stanza("perl", { Version: "1.0+deb1", Size: "2000" });

describe("packages of small lists", () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-closure-"));
  let index: IndexFile;
  beforeAll(async () => {
    await writeIndex(join(folder, "index.sqlite"), [MAIN, SECURITY]);
    index = new IndexFile(join(folder, "index.sqlite"));
  });
  afterAll(() => {
    index.close();
    rmSync(folder, { recursive: true });
  });
  const closure = (...names: string[]) => {
    const { packages, ...rest } = index.closure(names, ["plumbing"]);
    return { ...rest, packages: packages.map(({ name, version, because }) => [name, version, because]) };
  };

  it("bring what they need: the newest, the first alternative that there is, the provider of higher priority", () => {
    expect(closure("web")).toEqual({
      packages: [
        ["web", "1.0", undefined],
        ["libnew", "1.0", "web"],
        ["postfix", "1.0", "web"],
        ["perl", "1.0+deb1", "web"],
      ],
      unknown: [],
      conflicts: [],
    });
  });
  it("use what was chosen anyway", () => {
    const names = closure("web", "exim").packages.map(([name]) => name);
    expect(names).toEqual(["web", "exim", "libnew", "perl"]);
  });
  it("that are in each other's way are told", () => {
    expect(closure("exim", "postfix").conflicts).toEqual([
      {
        package: "exim",
        with: "postfix",
        reason: "conflicts with postfix (mail-transport); choose one of them",
      },
    ]);
  });
  it("that need what is not to be had are told when chosen, else passed over", () => {
    expect(closure("broken").conflicts).toEqual([
      { package: "broken", reason: "needs nowhere, which is not to be had" },
    ]);
    expect(closure("web-tools").packages.map(([name]) => name)).not.toContain("broken");
    expect(closure("web-tools").conflicts).toEqual([]);
  });
  it("that do not exist are named", () => {
    expect(closure("wbe", "perl")).toMatchObject({
      unknown: ["wbe"],
      packages: [["perl", "1.0+deb1", undefined]],
    });
  });

  it("are found by words, the likeliest first, in pages", () => {
    const search = (text: string, more: { section?: string; limit?: number; offset?: number } = {}) =>
      index.search(text, { limit: 10, offset: 0, ...more });
    expect(search("web").items.map(({ name }) => name)).toEqual(["web", "web-tools"]);
    expect(search("SERVER small").items).toEqual([
      {
        name: "web",
        version: "1.0",
        section: "httpd",
        description: "small Web server",
        downloadBytes: 1000,
        installedBytes: 3072,
      },
    ]);
    expect(search("", { section: "libs" }).items.map(({ name }) => name)).toEqual(["libold", "libnew"]);
    expect(search("package", { limit: 2, offset: 2 })).toMatchObject({ total: 7, items: [{}, {}] });
    expect(index.size).toBe(8);
  });
});
