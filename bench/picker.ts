/**
 * The package picker: its answers against apt's own for 50 selections of the release's real lists, and how long they take: each click (a search, a closure) by the
 * thread that the control plane asks, and the first of each after a start.
 *
 *   node bench/picker.ts [SELECTIONS]
 *
 * Ends with 1 when a bar is missed, or an answer is not apt's.
 */
import { CACHE } from "../src/cli/paths.ts";
import { PackageError } from "../src/images/packages/package-error.ts";
import { PackageIndex } from "../src/images/packages/package-index.ts";
import { Packages } from "../src/images/packages/packages.ts";
import { count, median } from "./measure.ts";

const BARS = { clickMs: 50, firstMs: 200 };
const SELECTIONS =
  `nginx|nginx-light|redis-server|postgresql|mariadb-server|apache2|python3|python3-django|nodejs|openjdk-17-jre-headless
gnome-core|kde-plasma-desktop|xfce4|docker.io|haproxy|exim4|postfix|exim4 postfix|openssh-server|samba
php-fpm|wordpress|ruby-rails|gitlab-cli|vim|emacs-nox|gcc|build-essential|systemd-sysv|sysvinit-core
systemd-sysv sysvinit-core|task-gnome-desktop|libreoffice|gimp|r-base|octave|texlive|cups|bind9|dovecot-imapd
prometheus|rabbitmq-server|elixir|ghc|golang|rustc|cargo|default-jdk|tomcat10|nginx redis-server postgresql php-fpm`
    .split(/[|\n]/)
    .map((names) => names.split(" "))
    .slice(0, count(process.argv[2], 50, "SELECTIONS"));
const SEARCHES = ["nginx", "web server", "python3", "lib", "mail transport agent", "zzz"];

const print = (line: string) => process.stdout.write(`${line}\n`);
let missed = 0;
function bar(what: string, ms: number, limit: number): void {
  const kept = ms <= limit;
  if (!kept) missed += 1;
  print(`${kept ? "ok    " : "MISSED"} ${what}: ${ms.toFixed(1)} ms (bar ${limit})`);
}
async function timed<T>(action: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const begin = performance.now();
  const result = await action();
  return { ms: performance.now() - begin, result };
}

// The lists are there, and the file of the index.
const warm = new PackageIndex(CACHE, "bookworm");
await warm.about();
warm.close();

const first = new PackageIndex(CACHE, "bookworm");
const page = { limit: 50, offset: 0 };
bar("first search after a start", (await timed(() => first.search("nginx", page))).ms, BARS.firstMs);
first.close();
const index = new PackageIndex(CACHE, "bookworm");
bar("first closure after a start", (await timed(() => index.closure(["nginx"], "slim"))).ms, BARS.firstMs);
await index.search("nginx", page);

const packages = new Packages(CACHE, "bookworm");
const closures: number[] = [];
let different = 0;
for (const names of SELECTIONS) {
  const once = await timed(() => index.closure(names, "slim"));
  const again = await timed(() => index.closure(names, "slim"));
  closures.push(once.ms);
  const ours = once.result.conflicts.length > 0 ? [] : named(once.result.packages);
  // Where apt refuses, so do we.
  const theirs = await packages.resolve(names).then(named, (error: unknown) => {
    // One that did not come to its end has not refused.
    if (!(error instanceof PackageError) || /did not end/.test(error.message)) throw error;
    return [];
  });
  const same = JSON.stringify(ours) === JSON.stringify(theirs);
  if (!same) different += 1;
  const told = theirs.length > 0 ? `${theirs.length} packages` : "refused by apt";
  print(
    `${same ? "same  " : "OTHER "} ${names.join(" ")}: ${told}, ${once.ms.toFixed(1)} ms, again ${again.ms.toFixed(1)} ms`,
  );
}
const searches: number[] = [];
for (let i = 0; i < 5; i++)
  for (const text of SEARCHES) searches.push((await timed(() => index.search(text, page))).ms);
bar(
  `closure of a selection, median of ${closures.length} asked for the first time`,
  median(closures),
  BARS.clickMs,
);
bar("closure of a selection, the slowest (a desktop)", Math.max(...closures), BARS.clickMs);
bar(`search, median of ${searches.length}`, median(searches), BARS.clickMs);
print(`${different} of ${SELECTIONS.length} selections differ from apt's answer`);
index.close();
process.exitCode = missed > 0 || different > 0 ? 1 : 0;

function named(all: readonly { name: string; version: string }[]): string[] {
  return all.map(({ name, version }) => `${name}=${version}`).sort();
}
