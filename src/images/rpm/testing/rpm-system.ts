/**
 * A distribution of RPMs for tests that boots: named as Fedora's or openSUSE's packages are, so that what Vireo takes for their base is there. What is in them is
 * Debian's (systemd, rpm, the kernel…): of the distributions themselves it shows nothing.
 */
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../../../system/run.ts";
import { Packages } from "../../packages/packages.ts";
import type { RpmRelease } from "../../releases/release.ts";
import { type TestKernel, testKernel } from "../../testing/kernel.ts";
import type { TestRpm } from "./rpm-repository.ts";

const TAKEN = [
  ...[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "dbus",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
  ],
  ...[
    "kmod",
    "libc-bin",
    "mount",
    "qemu-guest-agent",
    "rpm",
    "sed",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
  ],
  "util-linux",
];
/** Of which nothing here makes use. */
const UNWANTED = [
  ...["doc", "man", "info", "locale", "lintian", "perl"].map((name) => `usr/share/${name}`),
  ...["perl", "perl5", "gconv"].map((name) => `usr/lib/x86_64-linux-gnu/${name}`),
  ...["lib/udev/hwdb.d", "usr/lib/file"],
];
const UNPACK_MS = 300_000;

/** What scripts of packages make in such distributions. Debian's own scripts do not run here. */
const ACCOUNTS = `set -e
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
sed 's/^\\([^:]*\\):.*/\\1:*:19000:0:99999:7:::/' /etc/passwd > /etc/shadow
chmod 600 /etc/shadow
test -e /proc/self/status
systemd-sysusers`;

/** @param cache of builds, where the Debian packages are. @returns what a repository of the release has to have */
export async function systemPackages(
  folder: string,
  cache: string,
): Promise<(release: RpmRelease) => Promise<TestRpm[]>> {
  const debian = new Packages(cache, "bookworm");
  const debs = await debian.fetch(TAKEN);
  const system = join(folder, "system");
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    mkdirSync(join(system, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(system, name));
  }
  const excludes = UNWANTED.map((path) => `--exclude=./${path}/*`);
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | { shift; tar -x --keep-directory-symlink -C "$@"; }';
  for (const { file } of debs)
    await run("sh", ["-ec", unpack, "sh", file, system, ...excludes], { timeoutMs: UNPACK_MS });
  const kernel = await testKernel(folder, debian);
  for (const name of ["proc", "sys", "dev", "run", "tmp"]) mkdirSync(join(system, name), { recursive: true });
  rmSync(join(system, "etc/os-release"));
  writeFileSync(join(system, "usr/lib/sysusers.d/dbus.conf"), 'u messagebus - "System Message Bus"\n');
  const base: TestRpm = { name: "test-system", tree: system, provides: ["/bin/sh"], script: ACCOUNTS };

  // What several releases have is made once.
  const small = new Map<string, TestRpm>();
  return async (release) => {
    const own = join(folder, release.platform);
    mkdirSync(join(own, "release/usr/lib/rpm/macros.d"), { recursive: true });
    writeFileSync(
      join(own, "release/usr/lib/rpm/macros.d/macros.test"), // As if openSUSE's had another place for it: its format is another, which Debian's rpm has not.
      `%_dbpath ${release.database}${release.tool === "zypper" ? "-own" : ""}\n`,
    );
    mkdirSync(join(own, "release/etc"), { recursive: true });
    writeFileSync(
      join(own, "release/etc/os-release"),
      `NAME="Test"\nPRETTY_NAME="${release.title}"\nID=test\nVERSION_ID="${release.versionId}"\n`,
    );
    const of = (name: string): TestRpm => {
      if (name.endsWith("-release")) return { name, requires: ["test-system"], tree: join(own, "release") };
      const known = small.get(name) ?? { name, requires: ["test-system"] };
      small.set(name, known);
      return known;
    };
    return [
      base,
      ...[...release.base, "qemu-guest-agent"].map(of),
      ...(await kernelRpms(kernel, own, release)),
    ];
  };
}

/** Of one package, or of one with the modules; those are packed, as the distributions have them. */
async function kernelRpms(
  kernel: TestKernel,
  own: string,
  { kernels, tool }: RpmRelease,
): Promise<TestRpm[]> {
  const { version } = kernel;
  const [core = "", modules = core] = kernels.cloud;
  const at = (name: string) => join(own, name, tool === "dnf" ? "lib/modules" : "usr/lib/modules", version);
  const vmlinuz = join(at(core), "vmlinuz");
  mkdirSync(dirname(vmlinuz), { recursive: true });
  cpSync(kernel.vmlinuz, vmlinuz);
  await kernel.copyModules(at(modules), tool === "dnf" ? "xz" : "zstd");
  return [...new Set([core, modules])].map((name) => ({
    name,
    version: version.replaceAll("-", "_"),
    tree: join(own, name),
    requires: ["dracut"],
  }));
}
