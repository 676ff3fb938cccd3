/** Downloaded packages and lists that nothing needs any more. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { prunePackages } from "./prune.ts";

const DAY_MS = 24 * 3600_000;
let cache: string;
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), "vireo-prune-"));
});
afterEach(() => rmSync(cache, { recursive: true }));

const OWN = "apt-bookworm-0123456789ab";
const FILES = [
  "apt-bookworm/archives/web_1%3a2-1_amd64.deb",
  "apt-bookworm/archives/old_1_all.deb",
  "apt-bookworm/archives/lock",
  "apt-bookworm/lists/debian_Packages",
  "apt-bookworm/picker-v1.sqlite",
  "rpm-fedora-43/archives/bash@1%3A5.2-1@x86_64.rpm",
  "rpm-fedora-43/archives/old@1-1@noarch.rpm",
  `${OWN}/updated`,
  `${OWN}/archives/old_1_all.deb`,
  "layers/old_1_all.deb",
];
const there = () => FILES.filter((file) => existsSync(join(cache, file)));
const in_ = (days: number, ...needed: [string, string][]) =>
  prunePackages(
    cache,
    needed.map(([name, version]) => ({ name, version })),
    Date.now() + days * DAY_MS,
  );

it("go 90 days after a build has used them last, whatever their files say of their age; those of images stay", async () => {
  for (const file of FILES) {
    mkdirSync(dirname(join(cache, file)), { recursive: true });
    writeFileSync(join(cache, file), "x");
    // As old as on the mirror.
    utimesSync(join(cache, file), 1, 1);
  }
  expect(await in_(89)).toEqual([]);
  expect(there()).toEqual(FILES);
  await in_(91, ["web", "1:2-1"], ["bash", "1:5.2-1"], ["old", "1"]);
  const gone = ["apt-bookworm/picker-v1.sqlite", "rpm-fedora-43/archives/old@1-1@noarch.rpm"];
  expect(there()).toEqual(FILES.filter((file) => !gone.includes(file)));
  await in_(91, ["web", "1:2-1"]);
  // Lists of a recipe's own sources go with the last of their packages; the distribution's stay.
  expect(there()).toEqual([
    "apt-bookworm/archives/web_1%3a2-1_amd64.deb",
    "apt-bookworm/archives/lock",
    "apt-bookworm/lists/debian_Packages",
    "layers/old_1_all.deb",
  ]);
  expect(existsSync(join(cache, OWN))).toBe(false);
});
