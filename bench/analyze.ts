/**
 * How well `vireo image analyze` knows what applications need: real Debian packages are unpacked without their metadata, analysed, and what was found is compared with
 * what their maintainers wrote into Depends.
 *
 *   node bench/analyze.ts [--held-out] [--minimize] [--no-appliance] [PACKAGE…]      as root, for the runs (chroot): else it ends with 1 at once
 *
 * 20 packages; with --held-out 10 others, which no rule of the analysis was made for.
 *
 * Static: a library of Depends counts as found when the package, or another that Depends allows in its place, is in the recipe. With a run: the application runs in a root
 * file system made of its packages, and has to do there what it does in the appliance. Its own files count as the application's, and a dependency counts as found when the recipe's packages
 * bring it, or it is an essential package whose work busybox does; those that stand in the recipe as comments alone ("possible") are told apart.
 *
 * Wanted is what Depends names but for packages that only maintainer scripts need, and manuals. Of what was not found, a package counts as needed unless the run shows otherwise: it is done
 * again without the package's files, and prints and ends the same (needed.ts). Such packages are of no use to the application, or for what its run does not do (rotating logs); the share of
 * all that is wanted is printed, too. What was found is not tried.
 *
 * Then an appliance is built of the recipe with the application's own files, and started (TCG) until the application says that it works; with --minimize of no more than the run needs.
 * Ends with 1 when a bar is missed.
 */
import { existsSync, lstatSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { analyzeApplication } from "../src/images/analyze/analyze.ts";
import { forRecipe } from "../src/images/analyze/distribution.ts";
import { traceRun } from "../src/images/analyze/trace.ts";
import { type Package, Packages } from "../src/images/packages/packages.ts";
import { linkAlternatives } from "../src/images/slim/alternatives.ts";
import { unpackPackage } from "../src/images/workshop/unpack-package.ts";
import { run } from "../src/system/run.ts";
import { type Started, startAppliance } from "./analyzed-appliance.ts";
import { HELD_OUT, hasWorked, KNOWN, watchedRun } from "./applications.ts";
import { commandIn, unneededOf } from "./needed.ts";

/** What a command line has on every Debian. */
const BASE = [
  "base-files",
  "base-passwd",
  "bash",
  "coreutils",
  "dash",
  "debianutils",
  "diffutils",
  "findutils",
  "grep",
  "gzip",
  "hostname",
  "libc-bin",
  "mawk",
  "ncurses-base",
  "perl-base",
  "sed",
  "tar",
  "util-linux",
];
/** See PLUMBING in src/images/packages/plumbing.ts; they come along with nothing. */
const MAINTAINERS = new Set(
  `adduser debconf dpkg init-system-helpers install-info iproute2 libpam-modules libpam-modules-bin libpam-runtime login lsb-base passwd sensible-utils
  sysvinit-utils tar ucf usrmerge usr-is-merged`.split(/\s+/),
);
const BARS = { recall: 0.97, precision: 0.99, allRecall: 0.99, start: 1 };
const CACHE = process.env.VIREO_CACHE ?? "/var/cache/vireo";
const RUN_MS = 180_000;
const SHOWN = 300;
const release = "bookworm";

if (process.getuid?.() !== 0) {
  process.stderr.write(
    "run it as root: without, applications cannot be run (chroot), and half of it is not measured\n",
  );
  process.exit(1);
}

const print = (line: string) => process.stdout.write(`${line}\n`);
const asked = process.argv.slice(2);
const minimize = asked.includes("--minimize");
const heldOut = asked.includes("--held-out");
const isBuilt = !asked.includes("--no-appliance");
const applications = { ...KNOWN, ...HELD_OUT };
const listed = asked.filter((each) => !each.startsWith("--"));
const names = listed.length > 0 ? listed : Object.keys(heldOut ? HELD_OUT : KNOWN);
const isLibrary = (name: string) =>
  name === "zlib1g" ||
  (/^lib/.test(name) && !/-(?:perl|java|ruby|common|data|bin|tools|utils)$|^libjs-/.test(name));
const isManual = (name: string) => /-(?:doc|man)$/.test(name);

/** Each dependency as the packages that satisfy it: "a | b (>= 1), c:any". */
const alternatives = (field: string): string[][] =>
  field
    .split(",")
    .map((part) => part.split("|").map((name) => name.trim().replace(/[\s:(].*$/, "")))
    .filter(([first]) => first);

const folder = await mkdtemp(join(tmpdir(), "vireo-bench-analyze-"));
const packages = new Packages(CACHE, release);
const contents = await packages.contents();
const sum = {
  wanted: 0,
  got: 0,
  found: 0,
  right: 0,
  all: 0,
  allGot: 0,
  unneeded: 0,
  told: 0,
  built: 0,
  started: 0,
};
const never = new AbortController().signal;
try {
  const debs = await packages.fetch([], names);
  print(
    "package             static: libraries found wrong     s   with a run: wanted found   build s    MiB  starts s   not found; wrong libraries",
  );
  for (const name of names) {
    const deb = debs.find((each) => each.name === name);
    if (!deb) throw new Error(`${name} was not downloaded`);
    const at = join(folder, name);
    await run("dpkg-deb", ["-x", deb.file, at], { timeoutMs: 120_000 });
    const field = async (which: string) =>
      alternatives((await run("dpkg-deb", ["-f", deb.file, which])).trim());
    const named = [...(await field("Depends")), ...(await field("Pre-Depends"))];
    // Of two versions, or for another architecture, it is the same package.
    const depends = [...new Map(named.map((each) => [each.join("|"), each])).values()];

    const begin = performance.now();
    const still = await analyzeApplication({ path: at, traces: [] }, contents, release);
    const seconds = (performance.now() - begin) / 1000;
    const chosen = new Set(forRecipe(still.findings).map((finding) => finding.package));
    const wanted = depends.filter((each) => each.some(isLibrary));
    const missed = wanted.filter((each) => !each.some((one) => chosen.has(one)));
    const libraries = [...chosen].filter(isLibrary);
    const allowed = new Set(depends.flat());
    const wrong = libraries.filter((each) => !allowed.has(each));
    sum.wanted += wanted.length;
    sum.got += wanted.length - missed.length;
    sum.found += libraries.length;
    sum.right += libraries.length - wrong.length;

    // Of alternatives one is enough.
    const all = depends.filter((each) => !each.some((one) => MAINTAINERS.has(one) || isManual(one)));
    const { lost, told, started, ...more } = await withRun(name, at, all);
    const unneeded = lost.filter((each) => each.some((one) => more.unneeded.has(one)));
    sum.all += all.length;
    sum.allGot += all.length - lost.length;
    sum.unneeded += unneeded.length;
    sum.told += lost.filter((each) => each.some((one) => told.has(one))).length;
    if (started) sum.built += 1;
    if (started?.bootSeconds !== undefined) sum.started += 1;
    const columns = [
      name.padEnd(26),
      `${wanted.length}`.padStart(10),
      `${wanted.length - missed.length}`.padStart(5),
      `${wrong.length}`.padStart(5),
      seconds.toFixed(1).padStart(5),
      `${all.length}`.padStart(20),
      `${all.length - lost.length}`.padStart(5),
      (started ? started.buildSeconds.toFixed(1) : "-").padStart(9),
      (started ? started.allocatedMiB.toFixed(0) : "-").padStart(6),
      (started ? (started.bootSeconds?.toFixed(1) ?? "NO") : "-").padStart(9),
      `  ${[...new Set([...missed, ...lost])].map((each) => `${each.join("|")}${unneeded.includes(each) ? " (not needed)" : ""}`).join(" ")}; ${wrong.join(" ")}`,
    ];
    print(columns.join(" "));
    if (started?.leftOut) print(`  ${started.leftOut} files left out`);
    if (started && started.bootSeconds === undefined) print(started.said.replace(/^/gm, "  | "));
    await rm(at, { recursive: true });
  }
} finally {
  await contents.close();
  await rm(folder, { recursive: true, force: true });
}

/** @returns those of `depends` of which an image of what was found with a run has none; packages that are told as possible; those of the lost without which the run does the same; whether such an image starts the application */
async function withRun(
  name: string,
  app: string,
  depends: readonly string[][],
): Promise<{
  lost: readonly (readonly string[])[];
  told: ReadonlySet<string>;
  unneeded: ReadonlySet<string>;
  started?: Started;
}> {
  const application = applications[name] ?? { run: `${name} --version`, says: new RegExp(name) };
  const root = join(folder, "root");
  const debs = await makeRoot(root, [...BASE, name]);
  try {
    const said = join(folder, "said");
    const command = `${await commandIn(root, watchedRun(application), folder)} >${said} 2>&1 </dev/null`;
    const trace = await traceRun(command, join(folder, "trace"), { limitMs: RUN_MS, signal: never, root });
    const says = await readFile(said, "utf8");
    const worked = hasWorked(application, says);
    if (!worked)
      print(
        `${name}: its run did not work, and shows nothing:\n${says.slice(-SHOWN)}`.replace(/\n/g, "\n  | "),
      );
    // The application's own files are no evidence: copied out, no package would have them.
    for (const path of trace.opened.keys()) if (isOf(app, path)) trace.opened.delete(path);
    for (const path of trace.looked) if (isOf(app, path)) trace.looked.delete(path);
    for (const path of trace.started)
      if (isOf(app, path) || /\/(?:unshare|mount|chroot|env|timeout)$/.test(path)) trace.started.delete(path);
    const analyzed = await analyzeApplication(
      { path: app, traces: [{ name: "the run", trace }] },
      contents,
      release,
    );
    const { findings } = analyzed;
    const chosen = forRecipe(findings).map((finding) => finding.package);
    if (chosen.includes(name))
      throw new Error(`${name}: found itself: the run was not that of its files alone`);
    const plan = await packages.plan(chosen);
    const without = findings.filter(({ isEssential }) => isEssential).map((finding) => finding.package);
    const brought = new Set([...plan.map((each) => each.name), ...without]);
    const lost = depends.filter((each) => !each.some((one) => brought.has(one)));
    const tried = debs.filter((each) => worked && lost.flat().includes(each.name));
    const unneeded = await unneededOf(new Map(tried.map((each) => [each.name, each.file])), {
      root,
      command: watchedRun(application),
      folder,
    });
    await rm(root, { recursive: true });
    return {
      unneeded,
      lost,
      told: new Set(findings.map((finding) => finding.package)),
      ...(isBuilt
        ? { started: await startAppliance(application, analyzed, { folder, cache: CACHE, minimize }) }
        : {}),
    };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function makeRoot(root: string, names: readonly string[]): Promise<Package[]> {
  for (const each of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(join(root, "usr", each), { recursive: true });
    await symlink(`usr/${each}`, join(root, each));
  }
  for (const each of ["tmp", "dev", "proc", "run", "root", "etc", "var/log", "var/tmp", "var/lib"])
    await mkdir(join(root, each), { recursive: true });
  const debs = await packages.fetch(names);
  const work = { folder, cache: folder, log: () => {} };
  for (const each of debs) await unpackPackage(work, each.file, root);
  await linkAlternatives(work, root, debs);
  for (const file of ["passwd", "group"])
    await copyFile(join(root, "usr/share/base-passwd", `${file}.master`), join(root, "etc", file));
  await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
  await copyFile("/etc/resolv.conf", join(root, "etc/resolv.conf"));
  await run("ldconfig", ["-r", root], { timeoutMs: 60_000 });
  // What maintainer scripts would have made.
  for (const each of ["log/nginx", "lib/nginx", "lib/redis"])
    await mkdir(join(root, "var", each), { recursive: true }).then(() =>
      chmod(join(root, "var", each), 0o777),
    );
  if (existsSync(join(root, "etc/mysql/mariadb.cnf")))
    await symlink("mariadb.cnf", join(root, "etc/mysql/my.cnf"));
  return debs;
}

let missed = 0;
function bar(what: string, part: number, of: number, limit: number): void {
  if (of === 0) return;
  const value = part / of;
  const kept = value >= limit;
  if (!kept) missed += 1;
  print(`${kept ? "ok    " : "MISSED"} ${what}: ${value.toFixed(4)} (${part} of ${of}; bar ${limit})`);
}
bar("recall of library packages, static", sum.got, sum.wanted, BARS.recall);
bar("precision of library packages, static", sum.right, sum.found, BARS.precision);
bar("recall of all needed packages, with a run", sum.allGot, sum.all - sum.unneeded, BARS.allRecall);
if (sum.all > 0)
  print(
    `       of all that Depends names ${(sum.allGot / sum.all).toFixed(4)} (${sum.allGot} of ${sum.all}); of the others ${sum.told} told as possible`,
  );
bar("appliances that start their application", sum.started, sum.built, BARS.start);
process.exitCode = missed > 0 ? 1 : 0;

/** Links, too, wherever they lead. */
function isOf(app: string, path: string): boolean {
  return lstatSync(join(app, path), { throwIfNoEntry: false }) !== undefined;
}
