/**
 * How well `vireo image analyze` knows what applications need: real Debian packages are unpacked without their metadata, analysed, and what was found is compared with
 * what their maintainers wrote into Depends.
 *
 *   node bench/analyze.ts [PACKAGE…]      as root, for the runs (chroot)
 *
 * Static: a library of Depends counts as found when the package, or another that Depends allows in its place, is in the recipe. With a run: the application runs in a root
 * file system made of its packages, its own files count as the application's, and a dependency counts as found when the recipe's packages bring it. Left out of what is
 * wanted are packages that only maintainer scripts need, and manuals. Ends with 1 when a bar is missed.
 */
import { existsSync, lstatSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { analyzeApplication } from "../src/images/analyze/analyze.ts";
import { forRecipe } from "../src/images/analyze/distribution.ts";
import { traceRun } from "../src/images/analyze/trace.ts";
import { unpack } from "../src/images/build/root.ts";
import { Packages } from "../src/images/packages/packages.ts";
import { run } from "../src/system/run.ts";

/** Each with what it is run with. */
const APPLICATIONS: Record<string, string> = {
  nginx: "nginx -t; timeout 2 nginx -g 'daemon off;'",
  haproxy: "haproxy -c -f /etc/haproxy/haproxy.cfg; haproxy -vv",
  "redis-server": "timeout 2 redis-server --port 0 --unixsocket /tmp/redis.sock",
  curl: "curl -s file:///etc/passwd; curl -s https://localhost:1/",
  git: "git init /tmp/g && cd /tmp/g && git -c user.name=a -c user.email=a commit --allow-empty -m x && git log && git clone /tmp/g /tmp/h; git -c add.interactive.useBuiltin=false add -i </dev/null",
  "openssh-client": "ssh-keygen -t ed25519 -N '' -f /tmp/key; ssh -o BatchMode=yes localhost; ssh-add -l",
  rsync: "rsync -az /etc/ /tmp/etc/",
  sqlite3: "sqlite3 /tmp/x.db 'create table a(b); select sqlite_version();'",
  tmux: "tmux -L x new-session -d 'sleep 1'; tmux -L x list-sessions",
  ffmpeg:
    "ffmpeg -loglevel error -f lavfi -i testsrc=duration=1 -y /tmp/x.mp4; ffprobe -loglevel error /tmp/x.mp4",
  "imagemagick-6.q16": "convert-im6.q16 -size 10x10 xc:red /tmp/x.png; identify-im6.q16 /tmp/x.png",
  squid: "squid -k parse; timeout 12 squid -N",
  "dnsmasq-base": "dnsmasq --test; timeout 2 dnsmasq -k -p 5354 --user=root",
  "mariadb-client-core": "mariadb --version; mariadb --protocol=tcp -h localhost",
  borgbackup: "borg init -e none /tmp/b; borg create /tmp/b::a /etc",
  "yt-dlp": "yt-dlp --version; yt-dlp --list-extractors >/dev/null; yt-dlp http://localhost:1/",
  ack: "ack root /etc/passwd",
  uglifyjs: "echo 'var a = 1 + 2' > /tmp/a.js; uglifyjs /tmp/a.js",
  ant: 'echo \'<project default="x"><target name="x"><echo>hi</echo></target></project>\' > /tmp/build.xml; ant -f /tmp/build.xml',
  debootstrap: "timeout 20 debootstrap --print-debs bookworm /tmp/d http://deb.debian.org/debian",
};
/** What a command line has on every Debian. */
const BASE = [
  "base-files",
  "base-passwd",
  "bash",
  "coreutils",
  "dash",
  "debianutils",
  "findutils",
  "grep",
  "gzip",
  "libc-bin",
  "mawk",
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
const BARS = { recall: 0.97, precision: 0.99, allRecall: 0.99 };
const CACHE = process.env.VIREO_CACHE ?? "/var/cache/vireo";
const RUN_MS = 40_000;
const release = "bookworm";

const print = (line: string) => process.stdout.write(`${line}\n`);
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(APPLICATIONS);
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
const sum = { wanted: 0, got: 0, found: 0, right: 0, all: 0, allGot: 0 };
const never = new AbortController().signal;
try {
  const debs = await packages.fetch([], names);
  const canRun = process.getuid?.() === 0;
  print(
    "package             static: libraries found wrong     s   with a run: wanted found   not found; wrong libraries",
  );
  for (const name of names) {
    const deb = debs.find((each) => each.name === name);
    if (!deb) throw new Error(`${name} was not downloaded`);
    const at = join(folder, name);
    await run("dpkg-deb", ["-x", deb.file, at], { timeoutMs: 120_000 });
    const field = async (which: string) =>
      alternatives((await run("dpkg-deb", ["-f", deb.file, which])).trim());
    const depends = [...(await field("Depends")), ...(await field("Pre-Depends"))];

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

    const all = depends.filter((each) => !each.every((one) => MAINTAINERS.has(one) || isManual(one)));
    let lost: string[][] = [];
    if (canRun) {
      const brought = await withRun(name, at);
      lost = all.filter((each) => !each.some((one) => brought.has(one)));
      sum.all += all.length;
      sum.allGot += all.length - lost.length;
    }
    const columns = [
      name.padEnd(26),
      `${wanted.length}`.padStart(10),
      `${wanted.length - missed.length}`.padStart(5),
      `${wrong.length}`.padStart(5),
      seconds.toFixed(1).padStart(5),
      `${canRun ? all.length : "-"}`.padStart(20),
      `${canRun ? all.length - lost.length : "-"}`.padStart(5),
      `  ${[...new Set([...missed, ...lost])].map((each) => each.join("|")).join(" ")}; ${wrong.join(" ")}`,
    ];
    print(columns.join(" "));
    await rm(at, { recursive: true });
  }
} finally {
  await contents.close();
  await rm(folder, { recursive: true, force: true });
}

/** @returns the packages that an image would have, were it made of what was found with a run */
async function withRun(name: string, app: string): Promise<ReadonlySet<string>> {
  const root = join(folder, "root");
  await makeRoot(root, [...BASE, name]);
  try {
    const command = `chroot ${root} /usr/bin/env -i PYTHONDONTWRITEBYTECODE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh -c ${quoted(APPLICATIONS[name] ?? `${name} --version`)} >/dev/null 2>&1 </dev/null`;
    const trace = await traceRun(command, join(folder, "trace"), { limitMs: RUN_MS, signal: never, root });
    // The application's own files are no evidence: copied out, no package would have them.
    for (const path of trace.opened.keys()) if (isOf(app, path)) trace.opened.delete(path);
    for (const path of trace.started)
      if (isOf(app, path) || /\/(?:chroot|env|timeout)$/.test(path)) trace.started.delete(path);
    const { findings } = await analyzeApplication(
      { path: app, traces: [{ name: "the run", trace }] },
      contents,
      release,
    );
    const chosen = forRecipe(findings).map((finding) => finding.package);
    if (chosen.includes(name))
      throw new Error(`${name}: found itself: the run was not that of its files alone`);
    const plan = await packages.plan(chosen);
    return new Set([...plan.map((each) => each.name), ...findings.map((finding) => finding.package)]);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

async function makeRoot(root: string, names: readonly string[]): Promise<void> {
  for (const each of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(join(root, "usr", each), { recursive: true });
    await symlink(`usr/${each}`, join(root, each));
  }
  for (const each of ["tmp", "dev/shm", "proc", "run", "root", "etc", "var/log", "var/tmp", "var/lib"])
    await mkdir(join(root, each), { recursive: true });
  for (const each of await packages.fetch(names))
    await unpack({ folder, cache: folder, log: () => {} }, each.file, root);
  for (const file of ["passwd", "group"])
    await copyFile(join(root, "usr/share/base-passwd", `${file}.master`), join(root, "etc", file));
  await writeFile(join(root, "etc/hosts"), "127.0.0.1 localhost\n");
  await copyFile("/etc/resolv.conf", join(root, "etc/resolv.conf"));
  await chmod(join(root, "dev/shm"), 0o1777);
  // No device, but what is written to it goes.
  await writeFile(join(root, "dev/null"), "");
  await chmod(join(root, "dev/null"), 0o666);
  await run("ldconfig", ["-r", root], { timeoutMs: 60_000 });
  // What maintainer scripts would have made.
  for (const each of ["log/nginx", "lib/nginx", "log/squid", "spool/squid", "lib/redis"])
    await mkdir(join(root, "var", each), { recursive: true }).then(() =>
      chmod(join(root, "var", each), 0o777),
    );
  if (existsSync(join(root, "usr/bin/mawk"))) await symlink("mawk", join(root, "usr/bin/awk"));
  if (existsSync(join(root, "etc/mysql/mariadb.cnf")))
    await symlink("mariadb.cnf", join(root, "etc/mysql/my.cnf"));
  const java = join(root, "usr/lib/jvm/default-java/bin/java");
  if (existsSync(java)) await symlink("/usr/lib/jvm/default-java/bin/java", join(root, "usr/bin/java"));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
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
bar("recall of all needed packages, with a run", sum.allGot, sum.all, BARS.allRecall);
if (sum.all === 0) print("not run: chroot needs root");
process.exitCode = missed > 0 ? 1 : 0;

/** Links, too, wherever they lead. */
function isOf(app: string, path: string): boolean {
  return lstatSync(join(app, path), { throwIfNoEntry: false }) !== undefined;
}
