/** RPMs resolved and downloaded by the real dnf and zypper from a small repository made here: locks, signatures, wrong names, conflicts. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lockOf } from "../build/fetch.ts";
import { isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import { RpmPackages } from "./rpm-packages.ts";
import { serveRpms, type TestMirror } from "./testing/rpm-repository.ts";

const SYSTEMS = [
  { tool: "dnf", system: { distribution: "fedora", release: "43" } },
  { tool: "zypper", system: { distribution: "opensuse", release: "leap-15.6" } },
] as const;
const FIRST = [
  { name: "vbase", provides: ["virtual-base"] },
  { name: "vlib", version: "2.0", epoch: 1, requires: ["virtual-base"] },
  { name: "vapp", version: "1.0", requires: ["vlib >= 1:2.0"] },
  { name: "vother", conflicts: ["vlib"] },
  { name: "vlonely", requires: ["nowhere"] },
  { name: "vunsigned" },
  { name: "glibc-langpack-de" },
  { name: "vkernel", version: "1.9", requires: ["nowhere"] },
];
const UPDATES = [
  { name: "vapp", version: "1.1", release: "1.fc43~rc^2", requires: ["vlib >= 1:2.0"] },
  { name: "vkernel", version: "1.10~rc1", requires: ["nowhere"] },
  { name: "vkernel", version: "1.10", requires: ["nowhere"] },
];

let folder: string;
let mirror: TestMirror;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-rpms-"));
  const parts = SYSTEMS.map(({ system }) => {
    const release = releaseOf(system);
    return Object.fromEntries(
      release.parts.map((part, i) => [part, i === 0 ? FIRST : i === 1 ? UPDATES : []]),
    );
  });
  mirror = await serveRpms(folder, Object.assign({}, ...parts), ["vunsigned"]);
});
afterAll(() => {
  mirror.close();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(SYSTEMS)("by $tool", ({ tool, system }) => {
  const packagesOf = (
    cache: string,
    key: string | undefined = mirror.key,
    more: { locale?: string } = {},
  ) => {
    const release = releaseOf(system);
    if (!isRpm(release)) throw new Error("is none of RPMs");
    const recipe = { ...system, ...more, mirror: { uri: mirror.uri, ...(key ? { key } : {}) } };
    return new RpmPackages(join(folder, cache), recipe, release);
  };

  it("packages come with what they need, the newest of all repositories; a kernel comes alone", async () => {
    const found = await packagesOf(tool).fetch(["vapp"], ["vkernel"], ["vbase"]);
    expect(found.map(({ name, version, arch }) => `${name} ${version} ${arch}`).sort()).toEqual([
      "vapp 1.1-1.fc43~rc^2 x86_64",
      "vbase 1.0-1 x86_64",
      "vkernel 1.10-1 x86_64",
      "vlib 1:2.0-1 x86_64",
    ]);
    const lock = found.map(lockOf);
    expect(await packagesOf(tool).fetchLocked(lock)).toEqual(found);
    // From nothing, too: each is asked for by itself.
    const elsewhere = await packagesOf(`${tool}-elsewhere`).fetchLocked(lock);
    expect(elsewhere.map(lockOf)).toEqual(lock);
    const [first, ...rest] = lock;
    if (!first) throw new Error("there is no lock");
    await expect(
      packagesOf(tool).fetchLocked([{ ...first, sha256: "0".repeat(64) }, ...rest]),
    ).rejects.toThrow(`recipe.lock: ${first.name} ${first.version} has the sha256 ${first.sha256}`);
    await expect(packagesOf(tool).fetchLocked([{ ...first, version: "0.9-1" }])).rejects.toThrow(
      /^recipe\.lock: not all of its packages are to be had: \S+ 0\.9-1 is not there, or no longer, at http\S+.*; name a mirror that has it in recipe\.mirror\.uri, .*without recipe\.lock the image is built from today's$/s,
    );
  });

  it("wrong names are told, with the nearest; what a package provides is no name", async () => {
    await expect(packagesOf(tool).fetch(["vap", "virtual-base"])).rejects.toThrow(
      /^there is no package "vap"; did you mean "vapp"\?; there is no package "virtual-base"/,
    );
  });

  it.runIf(tool === "dnf")("a language that there is no package of is told with its field", async () => {
    const packages = packagesOf(tool, mirror.key, { locale: "dx_DE.UTF-8" });
    await expect(packages.fetch(["glibc-langpack-dx"])).rejects.toThrow(
      /^recipe\.locale: Fedora Linux 43 has no language dx, of dx_DE\.UTF-8; did you mean de\?$/,
    );
  });

  it("conflicts, and what cannot be had, are told", async () => {
    await expect(packagesOf(tool).fetch(["vapp", "vother"])).rejects.toThrow(
      /^the packages cannot be installed together: .*vlib/s,
    );
    await expect(packagesOf(tool).fetch(["vlonely"])).rejects.toThrow(
      /^the packages cannot be installed together: .*nothing provides '?nowhere/s,
    );
  });

  it("what nobody signed, or somebody else, is refused and not kept", async () => {
    await expect(packagesOf(tool).fetch(["vunsigned"])).rejects.toThrow(
      /^packages are not signed with a key of .*vunsigned/,
    );
    const kept = readdirSync(join(folder, tool), { recursive: true }).map(String);
    expect(kept.filter((name) => name.includes("vunsigned"))).toEqual([]);
    await expect(packagesOf(`${tool}-keyless`, "").fetch(["vbase"])).rejects.toThrow(
      /the keys of .* are not on the control plane's machine.*recipe\.mirror\.key, in ASCII armor \(they are at https:/,
    );
  });

  it("a mirror that cannot be read is told with its field", async () => {
    const release = releaseOf(system);
    if (!isRpm(release)) throw new Error("is none of RPMs");
    const recipe = { ...system, mirror: { uri: `${mirror.uri}/nothing`, key: mirror.key } };
    await expect(new RpmPackages(join(folder, "nowhere"), recipe, release).fetch(["vbase"])).rejects.toThrow(
      /^recipe\.mirror: .*cannot be read/s,
    );
  });
});
