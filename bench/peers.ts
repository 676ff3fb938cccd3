/**
 * The director beside the published balancing rules of Proxmox, oVirt and Xen Orchestra (bench/peers/, baselines for this measurement alone), on public traces: energy,
 * moves, overload and broken rules. Simulated (src/director/simulate): the same hosts, load and time for all; each starts the machines by its own rules and goes on
 * from there.
 *   node bench/peers.ts [NAME…]      planetlab, google, bitbrains; all that are in the folder VIREO_TRACES when none is named
 * Hosts: two generations in turns, with curves of SPECpower_ssj2008, so many that machines take 60 % of their memory when all are on. Ends with 1 unless the director needs less
 * energy than each of the others, with fewer moves and fewer overload minutes; where another had none of these, none is as good. What the director's moves are for is seen beside
 * the director that starts machines where it does and moves none of them.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { alternativeIn } from "../src/cli/policy-file.ts";
import { table } from "../src/cli/table.ts";
import type { HostView } from "../src/director/estate/estate.ts";
import { cut } from "../src/director/simulate/csv.ts";
import { vireo } from "../src/director/simulate/director.ts";
import { alike } from "../src/director/simulate/hosts.ts";
import { readTrace } from "../src/director/simulate/read.ts";
import { columnsOf } from "../src/director/simulate/report.ts";
import { type Director, type Outcome, simulate } from "../src/director/simulate/run.ts";
import type { Sizes } from "../src/director/simulate/trace.ts";
import { ovirt } from "./peers/ovirt.ts";
import { proxmox } from "./peers/proxmox.ts";
import { xenOrchestra } from "./peers/xen-orchestra.ts";

const GiB = 2 ** 30;
const FILLED = 0.6;

/** What the traces do not tell: four CPUs each, as machines of that size usually have. */
const TRACES: Record<string, { file: string; days: number; sizes: Sizes }> = {
  planetlab: { file: "planetlab-20110303.tar.gz", days: 1, sizes: { cpus: 4, memoryBytes: 4 * GiB } },
  google: { file: "GCD_VMs.tar.gz", days: 1, sizes: { cpus: 4, memoryBytes: 16 * GiB } },
  bitbrains: { file: "bitbrains-small-50vm-30d.csv.gz", days: 7, sizes: { cpus: 4, memoryBytes: 4 * GiB } },
};

const GENERATIONS = [
  // IBM System x3550 M3, two Xeon X5675; HPE ProLiant DL360 Gen10, one Xeon Platinum 8280.
  {
    processors: 24,
    gib: 96,
    mhz: 3066,
    model: "X5675",
    watts: [58.4, 98, 109, 118, 128, 140, 153, 170, 189, 205, 222],
  },
  {
    processors: 56,
    gib: 192,
    mhz: 2700,
    model: "Platinum 8280",
    watts: [37.3, 64.3, 76.9, 90.5, 107, 122, 140, 160, 186, 214, 235],
  },
] as const;
/** Virtual CPUs for each processor (Host.spec.overcommit.cpu), the same for all. */
const OVERCOMMIT = 6;

function hostsFor(memoryBytes: number): HostView[] {
  const hosts: HostView[] = [];
  for (let bytes = 0; bytes * FILLED < memoryBytes || hosts.length < 4; ) {
    const { processors, gib, mhz, model, watts } = GENERATIONS[hosts.length % 2] ?? GENERATIONS[0];
    const name = `host-${String(hosts.length).padStart(3, "0")}`;
    bytes += gib * GiB;
    const of = { processors, overcommit: OVERCOMMIT, memory: `${gib}Gi`, mhz, model, watts: [...watts] };
    hosts.push(...alike({ ...of, name, count: 1, site: "", linkMbps: 10_000 }));
  }
  return hosts;
}

const ENERGY = join(import.meta.dirname, "../examples/simulate/energy.yaml");

const FIGURES: [string, (o: Outcome) => number][] = [
  ["energy", (o) => o.energyKWh],
  ["moves", (o) => o.moves],
  ["overload minutes", (o) => o.overloadMinutes],
];

/** In what the director is better, in what neither has any, and in what it is not better. */
function compare(own: Outcome, other: Outcome): { better: string[]; neither: string[]; missed: string[] } {
  const which = (wanted: (a: number, b: number) => boolean) =>
    FIGURES.flatMap(([what, of]) => (wanted(of(own), of(other)) ? [what] : []));
  return {
    better: which((a, b) => a < b),
    neither: which((a, b) => a === 0 && b === 0),
    missed: which((a, b) => a > b || (a === b && a > 0)),
  };
}

const folder = process.env.VIREO_TRACES;
if (!folder) {
  process.stderr.write("VIREO_TRACES must name the folder with the traces (planetlab-20110303.tar.gz, …)\n");
  process.exit(2);
}
const asked = process.argv.slice(2);
const names = asked.length > 0 ? asked : Object.keys(TRACES);
const { policies } = await alternativeIn(ENERGY);
let fell = false;
let ran = 0;
for (const name of names) {
  const of = TRACES[name];
  if (!of) throw new Error(`no trace ${name}; there are ${Object.keys(TRACES).join(", ")}`);
  const path = join(folder, of.file);
  if (!existsSync(path)) {
    process.stdout.write(`${name}: ${path} is not there\n`);
    fell = true;
    continue;
  }
  const trace = cut(readTrace(path, of.sizes), of.days);
  const hosts = hostsFor(trace.machines.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0));
  const directors: Director[] = [
    vireo("Vireo energy"),
    ovirt(),
    proxmox(true),
    proxmox(false),
    xenOrchestra(),
  ];
  const outcomes = directors.map((director) => simulate({ hosts, policies, trace }, director));
  const still = simulate({ hosts, policies, trace }, { ...vireo("Vireo, no moves"), look: () => [] });
  ran++;
  process.stdout.write(
    `\n${name}: ${trace.machines.length} machines, ${hosts.length} hosts, ${of.days} days, simulated\n`,
  );
  const columns = columnsOf(outcomes);
  const rows = [...outcomes, still].map((outcome) => columns.map(({ of: cell }) => cell(outcome)));
  process.stdout.write(
    `${table(
      columns.map(({ head }) => head),
      rows,
    )}\n`,
  );
  const [own, ...others] = outcomes;
  for (const other of others) {
    if (!own) break;
    const { better, neither, missed } = compare(own, other);
    // Who left machines out had less to do.
    if (own.homeless.length > other.homeless.length) missed.push("machines without a host");
    if (missed.length > 0) fell = true;
    const said = [
      ...(better.length > 0 ? [`less ${better.join(", ")}`] : []),
      ...(neither.length > 0 ? [`neither has any ${neither.join(", ")}`] : []),
      ...(missed.length > 0 ? [`NOT less ${missed.join(", ")}`] : []),
    ];
    process.stdout.write(`against ${other.name}: ${said.join("; ")}\n`);
  }
}
process.exitCode = fell || ran === 0 ? 1 : 0;
