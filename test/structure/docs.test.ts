/** README and docs name only what is there: files, folders, links, verbs of the command. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const PAGES = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const verbs = new Set(
  readdirSync(join(ROOT, "src/cli"))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(join(ROOT, "src/cli", name), "utf8"))
    .flatMap((text) => [...text.matchAll(/\.command\("([a-z]+)/g)].map((m) => m[1] ?? "")),
);

describe.each(PAGES)("%s", (page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  it("links to files that exist", () => {
    const links = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((m) => m[1] ?? "");
    const broken = links.filter(
      (link) => !/^[a-z]+:/.test(link) && !existsSync(join(ROOT, dirname(page), link)),
    );
    expect(broken).toEqual([]);
  });
  it("names files and folders that exist", () => {
    const named = [...text.matchAll(/(?<![\w/.-])((?:src|docs|examples|bench|test)\/[\w./-]*\w)/g)].map(
      (m) => m[1] ?? "",
    );
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
  it("names verbs that the command has", () => {
    const used = [...text.matchAll(/(?:\.\/|`)vireo (?:--state \S+ )?([a-z]+)/g)].map((m) => m[1] ?? "");
    expect(used.filter((verb) => !verbs.has(verb))).toEqual([]);
  });
});
