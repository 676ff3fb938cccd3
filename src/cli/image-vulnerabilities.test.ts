/** What the verb says of images and lists that nothing can be said of: never that there is no vulnerability. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ApiStack, startApiStack } from "../api/testing/stack.ts";
import { Image } from "../images/kinds.ts";
import { printVulnerabilities } from "./image-vulnerabilities.ts";
import { statePaths } from "./paths.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-vulnerabilities-"));
let stack: ApiStack;
const recipe = { distribution: "debian", release: "bookworm", packages: ["openssl"] } as const;
const packages = [
  { name: "libssl3", version: "3.0.14-1", source: { name: "openssl", version: "3.0.14-1" } },
  { name: "bash", version: "5.2-1" },
];

beforeAll(async () => {
  stack = await startApiStack();
  const admin = stack.admin();
  const lists = [{ format: "files", file: "new.mtree", bytes: 1, sha256: "0".repeat(64) }] as const;
  const debian = recipe;
  const ubuntu = { ...recipe, distribution: "ubuntu", release: "noble" } as const;
  const images = [
    ["new", lists, debian] as const,
    ["old", [], debian] as const,
    ["noble", lists, ubuntu] as const,
  ];
  for (const [name, artifacts, recipe] of images) {
    const image = await admin.create(Image, {
      metadata: { name },
      spec: { storagePool: "default", recipe: { ...recipe, packages: [...recipe.packages] } },
    });
    const status = { phase: "Ready" as const, observedGeneration: 1, packages, artifacts: [...artifacts] };
    await admin.updateStatus(Image, { ...image, status });
  }
});
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

async function told(name: string, list: string | Buffer, fail = true): Promise<string> {
  const from = join(folder, "list");
  writeFileSync(from, list);
  const lines: string[] = [];
  await printVulnerabilities({ paths: statePaths(stack.folder) }, name, { from, fail }, (line) =>
    lines.push(line),
  );
  return lines.join("\n");
}
const tracker = (release: string) =>
  JSON.stringify({ openssl: { "CVE-1": { releases: { [release]: { status: "open" } } } } });

it("finds by the source", async () => {
  expect(await told("new", gzipSync(tracker("bookworm")))).toMatch(/^libssl3 +3\.0\.14-1 +CVE-1 /m);
});

it("an image whose packages' sources nobody kept is an error, not one without vulnerabilities", async () => {
  await expect(told("old", tracker("bookworm"), false)).rejects.toThrow(
    "image/old was built by an older Vireo, which did not keep what its packages were built from; build it again",
  );
});

it("an image of another distribution is not compared with Debian's lists", async () => {
  await expect(told("noble", tracker("noble"), false)).rejects.toThrow(
    "image/noble is of Ubuntu 24.04 (noble): known vulnerabilities are compared for images of Debian alone",
  );
});

it("--fail does not end well with a list of another release", async () => {
  expect(await told("new", tracker("trixie"), false)).toContain("0 entries of ");
  await expect(told("new", tracker("trixie"))).rejects.toThrow(
    /list: has nothing about the packages of image\/new, which are of bookworm/,
  );
});

it("a damaged list is told", async () => {
  await expect(told("new", gzipSync(tracker("bookworm")).subarray(0, 30))).rejects.toThrow(
    /list: is damaged, or too large: /,
  );
  await expect(told("new", "")).rejects.toThrow(/list: /);
});
