/**
 * How well `vireo image analyze` knows what applications need: real Debian packages are unpacked without their metadata, analysed, and what was found is compared with
 * what their maintainers wrote into Depends.
 *
 *   node bench/analyze.ts [PACKAGE…]
 *
 * Ends with 1 when a bar is missed. A library counts as found when the package, or another that Depends allows in its place, is among the findings for the recipe.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { analyzeApplication } from "../src/images/analyze/analyze.ts";
import { forRecipe } from "../src/images/analyze/distribution.ts";
import { Packages } from "../src/images/packages/packages.ts";
import { run } from "../src/system/run.ts";

const APPLICATIONS =
  `nginx haproxy redis-server curl git openssh-client rsync sqlite3 tmux ffmpeg imagemagick-6.q16 squid dnsmasq-base mariadb-client-core
  borgbackup yt-dlp ack uglifyjs ant debootstrap`.split(/\s+/);
const BARS = { recall: 0.97, precision: 0.99 };
const CACHE = process.env.VIREO_CACHE ?? "/var/cache/vireo";
const release = "bookworm";

const print = (line: string) => process.stdout.write(`${line}\n`);
const names = process.argv.length > 2 ? process.argv.slice(2) : APPLICATIONS;
const isLibrary = (name: string) =>
  name === "zlib1g" ||
  (/^lib/.test(name) && !/-(?:perl|java|ruby|common|data|bin|tools|utils)$|^libjs-/.test(name));

/** Each dependency as the packages that satisfy it: "a | b (>= 1), c:any". */
const alternatives = (field: string): string[][] =>
  field
    .split(",")
    .map((part) => part.split("|").map((name) => name.trim().replace(/[\s:(].*$/, "")))
    .filter(([first]) => first);

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-analyze-"));
const sum = { wanted: 0, got: 0, found: 0, right: 0, seconds: 0 };
try {
  const packages = new Packages(CACHE, release);
  const debs = await packages.fetch([], names);
  const contents = await packages.contents();
  print("package            libraries  found  wrong  seconds  not found; wrong");
  for (const name of names) {
    const deb = debs.find((each) => each.name === name);
    if (!deb) throw new Error(`${name} was not downloaded`);
    const at = join(folder, name);
    await run("dpkg-deb", ["-x", deb.file, at]);
    const field = async (which: string) =>
      alternatives((await run("dpkg-deb", ["-f", deb.file, which])).trim());
    const depends = [...(await field("Depends")), ...(await field("Pre-Depends"))];
    const begin = performance.now();
    const found = await analyzeApplication({ path: at, traces: [] }, contents, release);
    const seconds = (performance.now() - begin) / 1000;
    const chosen = new Set(forRecipe(found.findings).map((finding) => finding.package));
    const wanted = depends.filter((each) => each.some(isLibrary));
    const missed = wanted.filter((each) => !each.some((one) => chosen.has(one)));
    const libraries = [...chosen].filter(isLibrary);
    const allowed = new Set(depends.flat());
    const wrong = libraries.filter((each) => !allowed.has(each));
    sum.wanted += wanted.length;
    sum.got += wanted.length - missed.length;
    sum.found += libraries.length;
    sum.right += libraries.length - wrong.length;
    sum.seconds += seconds;
    const columns = [
      name.padEnd(19),
      `${wanted.length}`.padStart(10),
      `${wanted.length - missed.length}`.padStart(6),
      `${wrong.length}`.padStart(6),
      seconds.toFixed(1).padStart(8),
      ` ${missed.map((each) => each.join("|")).join(" ")}; ${wrong.join(" ")}`,
    ];
    print(columns.join(" "));
    rmSync(at, { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

let missed = 0;
function bar(what: string, part: number, of: number, limit: number): void {
  const value = part / of;
  const kept = value >= limit;
  if (!kept) missed += 1;
  print(`${kept ? "ok    " : "MISSED"} ${what}: ${value.toFixed(4)} (${part} of ${of}; bar ${limit})`);
}
bar("recall of library packages, static", sum.got, sum.wanted, BARS.recall);
bar("precision of library packages, static", sum.right, sum.found, BARS.precision);
print(`${sum.seconds.toFixed(1)} s for all`);
process.exitCode = missed > 0 ? 1 : 0;
