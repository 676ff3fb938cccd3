/**
 * An image of Ubuntu, slim, from a repository that is made here: named, split and signed as Ubuntu's is, served over HTTP; what its packages hold is Debian's.
 * Ubuntu's own mirror is not asked.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { sha256Of } from "../../system/digest.ts";
import { run } from "../../system/run.ts";
import { buildImage } from "../build/builder.ts";
import type { Recipe } from "../recipe.ts";
import { bootToEnd, NIC } from "../testing/boot.ts";
import { testKernel } from "../testing/kernel.ts";
import { type ServedFolder, serveFolder } from "../testing/serve-folder.ts";
import { Packages } from "./packages.ts";

const BUILD_MS = 300_000;
let folder: string;
let served: ServedFolder;
let mirror: { uri: string; key: string };

const at = (name: string) => join(folder, name);

/** @returns its path in pool/ */
async function deb(name: string, depends: string, fill: (tree: string) => unknown): Promise<string> {
  const tree = at(`trees/${name}`);
  mkdirSync(join(tree, "DEBIAN"), { recursive: true });
  writeFileSync(
    join(tree, "DEBIAN/control"),
    `Package: ${name}\nVersion: 6.8.0-1\nArchitecture: amd64\nMaintainer: nobody <n@example>\n${depends ? `Depends: ${depends}\n` : ""}Description: a test's\n`,
  );
  await fill(tree);
  const file = at(`served/ubuntu/pool/${name}.deb`);
  await run("dpkg-deb", ["--root-owner-group", "-Zgzip", "-z1", "-b", tree, file], { timeoutMs: BUILD_MS });
  return file;
}

/** A suite with these packages in main; its universe is empty. */
async function suite(name: string, files: readonly string[], gpg: (...args: string[]) => Promise<string>) {
  const dists = at(`served/ubuntu/dists/${name}`);
  const lists = { main: "", universe: "" };
  for (const file of files) {
    const control = (await run("dpkg-deb", ["-f", file])).trimEnd();
    const size = readFileSync(file).length;
    lists.main += `${control}\nFilename: pool/${basename(file)}\nSize: ${size}\nSHA256: ${await sha256Of(file)}\n\n`;
  }
  const sums: string[] = [];
  for (const [component, text] of Object.entries(lists)) {
    const path = `${component}/binary-amd64/Packages`;
    mkdirSync(join(dists, component, "binary-amd64"), { recursive: true });
    writeFileSync(join(dists, path), text);
    sums.push(` ${await sha256Of(join(dists, path))} ${text.length} ${path}\n`);
  }
  const date = new Date().toUTCString().replace("GMT", "UTC");
  const about = `Origin: Ubuntu\nSuite: ${name}\nCodename: noble\nDate: ${date}\nArchitectures: amd64\nComponents: main universe\n`;
  writeFileSync(join(dists, "Release"), `${about}SHA256:\n${sums.join("")}`);
  await gpg("--clearsign", "--output", join(dists, "InRelease"), join(dists, "Release"));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-ubuntu-"));
  mkdirSync(at("gpg"), { mode: 0o700 });
  mkdirSync(at("served/ubuntu/pool"), { recursive: true });
  const gpg = (...args: string[]) => run("gpg", ["--homedir", at("gpg"), "--batch", ...args]);
  await gpg("--passphrase", "", "--quick-gen-key", "ubuntu@example", "ed25519", "sign", "never");
  const debian = new Packages(CACHE, "bookworm");
  const kernel = await testKernel(folder, debian);
  const { version } = kernel;
  const files = (await debian.fetch(["busybox-static", "netbase"])).map(({ file }) => {
    const copy = at(`served/ubuntu/pool/${basename(file).replaceAll("%3a", ".")}`);
    cpSync(file, copy);
    return copy;
  });
  files.push(
    await deb("linux-image-virtual", `linux-image-${version}, linux-firmware`, () => {}),
    await deb(`linux-image-${version}`, `kmod, linux-modules-${version}`, (tree) => {
      mkdirSync(join(tree, "boot"));
      cpSync(kernel.vmlinuz, join(tree, "boot", `vmlinuz-${version}`));
    }),
    await deb(`linux-modules-${version}`, "", (tree) =>
      kernel.copyModules(join(tree, "lib/modules", version), "zstd"),
    ),
  );
  await suite("noble", files, gpg);
  for (const name of ["noble-updates", "noble-security"]) await suite(name, [], gpg);
  const key = await gpg("--armor", "--export");
  await run("gpgconf", ["--homedir", at("gpg"), "--kill", "all"]);
  served = await serveFolder(at("served"));
  mirror = { uri: `${served.uri}/ubuntu`, key };
}, BUILD_MS);
afterAll(() => {
  served?.close();
  rmSync(folder, { recursive: true, force: true });
});

it(
  "is built and boots; its kernel comes with the package of its modules",
  async () => {
    const recipe: Recipe = {
      ...{ distribution: "ubuntu", release: "noble", mirror, packages: [], guestAgent: false },
      services: [{ name: "tell", command: "/usr/bin/tell" }],
      files: [
        {
          path: "/usr/bin/tell",
          mode: "0755",
          content: `#!/bin/sh\necho "tell: $(. /etc/os-release; echo "$ID $VERSION_ID $VERSION_CODENAME")" > /dev/console\npoweroff -f\n`,
        },
      ],
    };
    const options = { cache: at("cache"), progress: () => {} };
    const built = await buildImage({ ...options, name: "noble", recipe, folder: at("images") });
    const lock = (built.packages ?? []).map(({ name, version, sha256 = "" }) => ({ name, version, sha256 }));
    expect(lock.map(({ name }) => name.replace(/\d.*$/, "")).sort()).toEqual([
      ...["busybox-static", "linux-image-", "linux-modules-", "netbase"],
    ]);
    const provenance = readFileSync(at(`images/${built.file?.replace("qcow2", "provenance.json")}`), "utf8");
    expect(provenance).toContain("pkg:deb/ubuntu/netbase@");
    const said = await bootToEnd(at("images"), built, {
      memoryMiB: 128,
      timeoutMs: BUILD_MS / 2,
      devices: NIC,
    });
    expect(said).toContain("tell: ubuntu 24.04 noble");
    const again = await buildImage({
      ...options,
      name: "again",
      recipe: { ...recipe, lock },
      folder: at("again"),
    });
    expect(again.sha256).toBe(built.sha256);
  },
  BUILD_MS,
);

it(
  "is refused without its keys, and with another's",
  async () => {
    const { uri } = mirror;
    const keyless = new Packages(at("keyless"), "noble", undefined, { mirror: { uri } });
    await expect(keyless.fetch(["netbase"])).rejects.toThrow(
      /^the keys of Ubuntu 24\.04 \(noble\) .* give them as recipe\.mirror\.key, in ASCII armor/,
    );
    const key = await run("gpg", [
      "--no-default-keyring",
      "--keyring",
      "/usr/share/keyrings/debian-archive-keyring.gpg",
      "--armor",
      "--export",
    ]);
    const others = new Packages(at("others"), "noble", undefined, { mirror: { uri, key } });
    await expect(others.fetch(["netbase"])).rejects.toThrow(
      /^the package lists of noble cannot be fetched: /,
    );
  },
  BUILD_MS,
);
