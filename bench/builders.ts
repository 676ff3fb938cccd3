/**
 * nginx on Debian as an image, made by Vireo and by others in one run: how long a build takes after one like it (everybody has the packages; Vireo, as it does in use, keeps what it made of
 * them, too: kernel and compressed layers, of a full image all that comes before its own files; mkosi keeps its cache of packages), how much the files take that a machine starts from (disk,
 * kernel, initial RAM disk), and how soon it answers, started by its kernel under emulation. Prints a table for docs/performance.md.
 *
 *   node bench/builders.ts [ROUNDS] [NAME]     as root; NAME: only builders whose name begins so
 *
 * Others: mmdebstrap, and steps by hand behind it (network, file system); Debian's mkosi (14), which makes the folder, with the same steps (its disks take loop devices and
 * partition nodes, which containers rarely have). apt-get install mmdebstrap mkosi; what is not there or fails is said so, and has no figures.
 * All have Debian's cloud kernel; all but the slim image have dpkg, apt and systemd. Ends with 1 when an image of Vireo's does not answer, or none of the other builders that
 * were asked for ran.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Recipe } from "../src/images/recipe.ts";
import { answers } from "../src/images/testing/answers.ts";
import { run, succeeds } from "../src/system/run.ts";
import { build, EXAMPLE } from "./appliance.ts";
import { count, median } from "./measure.ts";

const rounds = count(process.argv[2], 1, "ROUNDS");
const only = process.argv[3] ?? "";
const MIRROR = "http://deb.debian.org/debian";
const PACKAGES = "linux-image-cloud-amd64,initramfs-tools,systemd-sysv,nginx-light";
const LIMIT_MS = 3600_000;
/** Enough for all of them. */
const MEMORY_MIB = 512;

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-builders-"));
const print = (line: string) => process.stdout.write(`${line}\n`);

/** What a machine starts from. */
interface Made {
  disk: string;
  format: "raw" | "qcow2";
  kernel: string;
  initrd: string;
  commandLine: string;
}
type Builder = (at: string) => Promise<Made>;

const vireo =
  (more: Partial<Recipe>): Builder =>
  async (at) => {
    const { built } = await build({ ...EXAMPLE, boot: "direct", ...more }, at, join(folder, "layers"));
    const { kernel = "", initrd = "", commandLine = "" } = built.boot ?? {};
    const files = { disk: join(at, built.file ?? ""), kernel: join(at, kernel), initrd: join(at, initrd) };
    return { ...files, format: "qcow2", commandLine };
  };

/** nginx as its package sets it up, as the others have it: the example's own page and the package's would both be the default one. */
const FULL: Partial<Recipe> = {
  ...{ mode: "full", root: "ext4", minimize: false },
  ...{ files: [], services: [{ name: "nginx" }] },
};

const debs = join(folder, "debs");
const byMmdebstrap: Builder = async (at) => {
  mkdirSync(debs, { recursive: true });
  mkdirSync(at);
  const root = join(at, "root");
  const hooks = [
    `--setup-hook=mkdir -p "$1/var/cache/apt/archives/"`,
    `--setup-hook=sync-in ${debs} /var/cache/apt/archives/`,
    `--customize-hook=sync-out /var/cache/apt/archives ${debs}`,
  ];
  const args = ["--variant=apt", "--skip=essential/unlink", ...hooks, `--include=${PACKAGES}`];
  await run("mmdebstrap", [...args, "bookworm", root, MIRROR], { timeoutMs: LIMIT_MS });
  return byHand(at, root);
};

const byMkosi: Builder = async (at) => {
  mkdirSync(at);
  const work = join(at, "work");
  mkdirSync(work);
  const what = ["--force", "--distribution", "debian", "--release", "bookworm", "--mirror", MIRROR];
  const where = ["--format", "directory", "--output-dir", at, "--output", "root"];
  // Where no systemd runs, systemd-nspawn has nobody to tell, and /run is no tmpfs.
  const programs = join(at, "bin");
  mkdirSync(programs);
  const nspawn = (await run("sh", ["-c", "command -v systemd-nspawn"])).trim();
  writeFileSync(
    join(programs, "systemd-nspawn"),
    `#!/bin/sh\nexec ${nspawn} --keep-unit --register=no "$@"\n`,
    { mode: 0o755 },
  );
  const script =
    'mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn && exec mkosi "$@"';
  const args = [...what, ...where, "--cache", join(folder, "mkosi"), "--package", PACKAGES];
  await run("unshare", ["--mount", "sh", "-c", script, "mkosi", ...args], {
    cwd: work,
    timeoutMs: LIMIT_MS,
    env: { PATH: `${programs}:${process.env.PATH}` },
  });
  return byHand(at, join(at, "debian~bookworm", "root"));
};

/** The steps that are left: DHCP, nginx at boot (its package enables it), a file system without mounts. */
async function byHand(at: string, root: string): Promise<Made> {
  writeFileSync(join(root, "etc/systemd/network/lan.network"), "[Match]\nName=e*\n[Network]\nDHCP=yes\n");
  const wants = join(root, "etc/systemd/system/multi-user.target.wants");
  mkdirSync(wants, { recursive: true });
  symlinkSync("/lib/systemd/system/systemd-networkd.service", join(wants, "systemd-networkd.service"));
  // mkosi makes none for folders.
  if (!readdirSync(join(root, "boot")).some((name) => name.startsWith("initrd.img-"))) {
    const script = 'mount -t proc proc "$1/proc" && exec chroot "$1" update-initramfs -c -k all';
    await run("unshare", ["--mount", "sh", "-c", script, "sh", root], { timeoutMs: LIMIT_MS });
  }
  const disk = join(at, "disk.raw");
  await run("mke2fs", ["-q", "-t", "ext4", "-d", root, disk, "2G"], { timeoutMs: LIMIT_MS });
  const boot = readdirSync(join(root, "boot"));
  const file = (begin: string) => {
    const name = boot.find((each) => each.startsWith(begin));
    if (!name) throw new Error(`it made no /boot/${begin}*`);
    return join(root, "boot", name);
  };
  return {
    ...{ disk, format: "raw", kernel: file("vmlinuz-"), initrd: file("initrd.img-") },
    commandLine: "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off",
  };
}

const allocated = (paths: readonly string[]) =>
  paths.reduce((sum, path) => sum + statSync(path).blocks * 512, 0);

interface Figures {
  seconds: number;
  bytes: number;
  answer: number;
}

/** @param warm builds once before, so that packages are there */
async function measure(name: string, make: Builder): Promise<Figures> {
  const at = (round: string) => join(folder, `${name.replaceAll(/\W+/g, "-")}-${round}`);
  await make(at("warm"));
  rmSync(at("warm"), { recursive: true });
  const [seconds, answer]: [number[], number[]] = [[], []];
  let bytes = Number.NaN;
  for (let i = 0; i < rounds; i++) {
    // Vireo would take the whole image that it made before; in a folder of its own it can take only parts.
    const begin = performance.now();
    const made = await make(at(`${i}`));
    seconds.push((performance.now() - begin) / 1000);
    bytes = allocated([made.disk, made.kernel, made.initrd]);
    const args = [
      ...["-M", "q35", "-kernel", made.kernel, "-initrd", made.initrd, "-append", made.commandLine],
      ...["-drive", `file=${made.disk},format=${made.format},if=virtio,snapshot=on`],
    ];
    answer.push(await answers(args, { memoryMiB: MEMORY_MIB, limitMs: 600_000 }));
    rmSync(at(`${i}`), { recursive: true });
  }
  return { seconds: median(seconds), bytes, answer: median(answer) };
}

const builders: [name: string, own: boolean, program: string | undefined, make: Builder][] = [
  ["Vireo, slim", true, undefined, vireo({ root: "ram" })],
  ["Vireo, full", true, undefined, vireo(FULL)],
  ["mmdebstrap, then by hand", false, "mmdebstrap", byMmdebstrap],
  ["mkosi 14, then by hand", false, "mkosi", byMkosi],
];
try {
  const rows: string[] = [];
  let missed = 0;
  let peers = 0;
  const asked = builders.filter(([name]) => name.startsWith(only));
  for (const [name, own, program, make] of asked) {
    if (program && !(await succeeds("sh", ["-c", `command -v ${program}`]))) {
      rows.push(`| ${name} | not there: apt-get install ${program} | | |`);
      continue;
    }
    try {
      const { seconds, bytes, answer } = await measure(name, make);
      const silent = Number.isNaN(answer);
      if (silent && own) missed += 1;
      if (!silent && !own) peers += 1;
      const said = silent ? "none in 600 s" : `${answer.toFixed(1)} s`;
      rows.push(`| ${name} | ${seconds.toFixed(1)} s | ${(bytes / 1e6).toFixed(1)} MB | ${said} |`);
    } catch (error) {
      if (own) missed += 1;
      rows.push(
        `| ${name} | failed: ${error instanceof Error ? error.message.split("\n").at(-1) : error} | | |`,
      );
    }
    print(rows.at(-1) ?? "");
  }
  print(`\n| builder | build | disk, kernel, initial RAM disk | first answer |\n|---|---|---|---|`);
  for (const row of rows) print(row);
  const isAlone = peers === 0 && !(asked.length > 0 && asked.every(([, own]) => own));
  if (isAlone) print("no other builder ran: nothing is compared");
  process.exitCode = missed > 0 || isAlone ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
