/**
 * Full images built by the real dnf and zypper, of a small distribution of RPMs made here (what is in them is Debian's): scripts of packages ran, it boots with
 * systemd, rpm knows what is installed, and it is the same again from its lock.
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { sha256Of } from "../../system/digest.ts";
import { run } from "../../system/run.ts";
import { archiveFile, archivesFolder, makeFolder } from "../archives/store.ts";
import { buildImage } from "../build/builder.ts";
import type { BuiltImage } from "../kinds.ts";
import type { Recipe } from "../recipe.ts";
import { isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import { serveRpms, type TestMirror, type TestRpm } from "../rpm/testing/rpm-repository.ts";
import { systemPackages } from "../rpm/testing/rpm-system.ts";
import { bootToEnd, NIC } from "../testing/boot.ts";

const SYSTEMS = {
  dnf: { distribution: "fedora", release: "43" },
  zypper: { distribution: "opensuse", release: "leap-15.6" },
} as const;
const BUILD_MS = 600_000;
const nothing = () => {};

let folder: string;
let mirror: TestMirror;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-rpm-full-"));
  const packagesOf = await systemPackages(folder, CACHE);
  const parts: Record<string, TestRpm[]> = {};
  const units = join(folder, "shop/usr/lib/systemd/system");
  mkdirSync(units, { recursive: true });
  writeFileSync(
    join(units, "stock.service"),
    "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n",
  );
  const script = `set -e
echo "installed as $(id -un), with $(getent passwd systemd-network | cut -d: -f1)" > /etc/shop
systemctl enable stock.service`;
  const shop = { name: "shop", version: "2.1", requires: ["systemd"], tree: join(folder, "shop"), script };
  for (const system of Object.values(SYSTEMS)) {
    const release = releaseOf(system);
    if (!isRpm(release)) throw new Error("is none of RPMs");
    for (const part of release.parts) parts[part] = [];
    parts[release.parts[0] ?? ""] = [...(await packagesOf(release)), shop];
  }
  mirror = await serveRpms(folder, parts);
}, BUILD_MS);
afterAll(() => {
  mirror?.close();
  rmSync(folder, { recursive: true, force: true });
});

const recipeOf = (which: keyof typeof SYSTEMS): Recipe => ({
  mode: "full",
  ...SYSTEMS[which],
  mirror: { uri: mirror.uri, key: mirror.key },
  packages: ["shop"],
  hostname: "till",
  users: [{ name: "ada", sshAuthorizedKeys: ["ssh-ed25519 AAAB ada"], shell: "/bin/bash" }],
  services: [{ name: "tell", command: "/usr/bin/tell" }],
  files: [
    {
      path: "/usr/bin/tell",
      mode: "0755",
      content: `#!/bin/sh
echo "tell: $(hostname), $(cat /etc/shop), $(id -un ada)"
echo "units: $(systemctl is-active stock systemd-networkd systemd-resolved | tr '\\n' ' '), failed: $(systemctl --failed --plain --no-legend)."
echo "rpm: $(rpm -q shop), $(rpm -V shop && echo whole), of $(rpm -qa | wc -l)"
systemctl --no-block poweroff
`,
    },
  ],
});
const build = (name: string, recipe: Recipe, lines: string[] = []) =>
  buildImage({
    ...{ name, recipe, folder: join(folder, name), cache: join(folder, "cache"), progress: nothing },
    log: (line) => lines.push(line),
  });
const lockOf = ({ packages = [] }: BuiltImage) =>
  packages.map(({ name, version, arch, sha256 = "" }) => ({
    ...{ name, version, sha256 },
    ...(arch ? { arch } : {}),
  }));
const mounted = () => readFileSync("/proc/self/mounts", "utf8").includes(folder);

/** However loaded the machine is that the test runs on. */
const PATIENT = {
  ...{ memoryMiB: 256, timeoutMs: BUILD_MS, devices: NIC },
  options: "systemd.default_timeout_start_sec=600",
};

/** Of what it said on its serial port: scripts of packages ran, what they made does, and its rpm knows what is installed. */
function expectWorking(said: string): void {
  expect(said).toContain("tell: till, installed as root, with systemd-network, ada");
  expect(said).toContain("units: active active active , failed: .");
  expect(said).toMatch(/rpm: shop-2\.1-1\.x86_64, whole, of \d\d/);
}

it(
  "dnf installs and runs the packages' scripts; the image boots with systemd, and its rpm knows what is installed",
  async () => {
    const built = await build("dnf", recipeOf("dnf"));
    expect(mounted()).toBe(false);
    expect(readdirSync(join(folder, "dnf")).filter((name) => name.startsWith("."))).toEqual([]);
    const lock = lockOf(built);
    const arches = Object.fromEntries(lock.map(({ name, arch }) => [name, arch]));
    expect(arches).toMatchObject({ shop: "x86_64", "kernel-core": "x86_64" });
    // Debian's, in the initial RAM disk.
    expect(lock.find(({ name }) => name === "busybox-static")).not.toHaveProperty("arch");
    const provenance = readFileSync(
      join(folder, "dnf", `${built.file?.replace("qcow2", "provenance.json")}`),
      "utf8",
    );
    expect(provenance).toContain("pkg:rpm/fedora/shop@2.1-1?arch=x86_64&distro=fedora-43");

    expectWorking(await bootToEnd(join(folder, "dnf"), built, PATIENT));

    const again = await build("dnf-again", { ...recipeOf("dnf"), lock });
    expect(again.sha256).toBe(built.sha256);
    expect(lockOf(again)).toEqual(lock);
  },
  2 * BUILD_MS,
);

it(
  "one that is too large says which packages and archives are the largest",
  async () => {
    const store = archivesFolder(join(folder, "large"));
    await makeFolder(store);
    const tree = join(folder, "stock");
    mkdirSync(tree);
    writeFileSync(join(tree, "prices"), Buffer.alloc(3 * 2 ** 20, 7));
    const tar = join(folder, "stock.tar");
    await run("tar", ["-C", tree, "-cf", tar, "prices"]);
    const sha256 = await sha256Of(tar);
    renameSync(tar, archiveFile(store, sha256));
    const archives = [{ file: "stock.tar", sha256, bytes: statSync(archiveFile(store, sha256)).size }];
    await expect(build("large", { ...recipeOf("dnf"), archives, maxMiB: 5 })).rejects.toThrow(
      /^recipe\.maxMiB: .* unpacked: test-system \d+\.\d MiB, (.*, )?stock\.tar 3\.0 MiB/,
    );
  },
  BUILD_MS,
);

it(
  "zypper does, too, and its image boots; where the system's rpm looks elsewhere for what is installed, it is told",
  async () => {
    const lines: string[] = [];
    const built = await build("zypper", recipeOf("zypper"), lines);
    expect(mounted()).toBe(false);
    expect(lines.join("\n")).toContain("its own rpm does not know what is installed: it is told");
    expectWorking(await bootToEnd(join(folder, "zypper"), built, PATIENT));
    const again = await build("zypper-again", { ...recipeOf("zypper"), lock: lockOf(built) });
    expect(again.sha256).toBe(built.sha256);
  },
  2 * BUILD_MS,
);
