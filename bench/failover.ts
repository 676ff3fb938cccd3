/**
 * Failover capacity and PowerPolicies on estates that are made up: hosts in racks of 20, ten machines for each host in groups of eight that are kept apart, each group with a policy that wants to survive the
 * loss of any host; every tenth host is empty.
 *   node bench/failover.ts [HOSTS…]     (100 1000 10000)
 * For each size: proving all losses anew, placing one new machine (median and p99 of 200), a whole plan (median of 3, proof included), and a look at which hosts are to be on with one spare host; up to 1,000
 * hosts also the same for the loss of any two and any three at once, how long others wait for a piece of it at most, and what the server's last word costs at each bind (failover-bind.ts). Ends with 1 when at 10,000 hosts a bar is missed: a plan in 1 s, a placement in 1 ms at p99; or at 1,000 a bind in 5 ms.
 */
import type { Estate, HostView, MachineView } from "../src/director/estate/estate.ts";
import { indexOf } from "../src/director/estate/estate-index.ts";
import { applyTo } from "../src/director/estate/moved.ts";
import { proveSurvival, survivalOf } from "../src/director/failover/failover.ts";
import type { Policy } from "../src/director/kinds.ts";
import { place } from "../src/director/planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../src/director/planning/plan.ts";
import { decidePower } from "../src/director/power/power.ts";
import { xorshift } from "../src/director/solver/random.ts";
import { frugal, poweredHost } from "../src/director/testing/powered.ts";
import { hostView } from "../src/director/testing/views.ts";
import { binds } from "./failover-bind.ts";
import { count } from "./measure.ts";

const GiB = 2 ** 30;
const hostName = (i: number) => `host-${String(i).padStart(5, "0")}`;
const PER_HOST = 10;
const GROUP = 8;
const WARM = 100;
const PLACEMENTS = 200;
const RUNS = 3;
const BARS = { hosts: 10_000, planMs: 1000, placeMs: 1, bindHosts: 1000, bindMs: 5 };

const gibOf = (i: number) => [96, 128, 256][i % 3] ?? 96;
const cpusOf = (i: number) => [48, 64, 128][i % 3] ?? 48;
const rackOf = (i: number) => `rack-${Math.floor(i / 20)}`;
const hostOf = (i: number): HostView =>
  hostView(hostName(i), {
    rack: rackOf(i),
    cpus: cpusOf(i),
    memoryBytes: gibOf(i) * GiB,
    mhz: [2400, 2600, 3000][i % 3] ?? 2400,
    cores: 32,
    idleWatts: 100 + (i % 3) * 20,
    maxWatts: 400,
    ssd: true,
    linkMbps: 10_000,
  });

function makeEstate(hosts: number): Estate {
  const random = xorshift(hosts);
  const list = Array.from({ length: hosts }, (_, i) => hostOf(i));
  const machines: MachineView[] = Array.from({ length: hosts * PER_HOST + WARM + PLACEMENTS }, (_, i) => {
    const name = `vm-${String(i).padStart(6, "0")}`;
    const used = list.filter((_host, h) => h % 10 !== 9).length;
    const at = i % used;
    return {
      key: `default/${name}`,
      namespace: "default",
      name,
      labels: { app: `app-${Math.floor(i / GROUP)}` },
      cpus: 1 + (random() % 4),
      memoryBytes: (1 + (random() % 8)) * GiB,
      ...(i < hosts * PER_HOST ? { host: list[at + Math.floor(at / 9)]?.name ?? "" } : {}),
      movable: true,
      since: 0,
    };
  });
  const policies: Policy[] = Array.from({ length: Math.ceil(machines.length / GROUP) }, (_, group) => ({
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: `app-${group}`, namespace: "default" },
    spec: {
      selector: { matchLabels: { app: `app-${group}` } },
      goal: "balanced",
      automation: "act",
      priority: 0,
      keepApart: "host",
      failover: { per: "host", losses: 1 },
    },
  }));
  return { hosts: list, machines, policies, odd: [] };
}

function timesOf(runs: number, act: (i: number) => void): number[] {
  return Array.from({ length: runs }, (_, i) => {
    const begin = performance.now();
    act(i);
    return performance.now() - begin;
  }).sort((a, b) => a - b);
}

/** Losses of several hosts at once, proven in pieces as the server does. */
function manyLosses(of: Estate, losses: number): string {
  const policies = of.policies.map((policy) => ({
    ...policy,
    spec: { ...policy.spec, failover: { per: "host" as const, losses } },
  }));
  const estate = { ...of, policies };
  indexOf(estate);
  let [longest, sum, last] = [0, 0, performance.now()];
  for (const work = proveSurvival(estate); !work.next().done; last = performance.now()) {
    const took = performance.now() - last;
    [longest, sum] = [Math.max(longest, took), sum + took];
  }
  const survival = survivalOf(estate);
  const [faults, open] = [survival?.faults().length, survival?.losses.tooMany.size];
  return `${of.hosts.length} hosts: any ${losses} at once proven in ${sum.toFixed(0)} ms, the longest piece ${longest.toFixed(0)} ms (${faults} not survived, ${open} policies not proven)\n`;
}

const at = (times: readonly number[], share: number) => times[Math.floor((times.length - 1) * share)] ?? 0;

const asked = process.argv.slice(2).map((text) => count(text, 0, "HOSTS"));
let missed = false;
for (const hosts of asked.length > 0 ? asked : [100, 1000, 10_000]) {
  const estate = makeEstate(hosts);
  let faults = 0;
  const bare = timesOf(RUNS, () => indexOf({ ...estate }));
  const proofs = timesOf(RUNS, () => {
    faults = survivalOf({ ...estate })?.faults().length ?? -1;
  });
  const proofMs = at(proofs, 0.5) - at(bare, 0.5);
  const options = { ...PLAN_DEFAULTS, now: 1e12, released: new Set<string>() };
  let moves = 0;
  const plans = timesOf(RUNS, () => {
    moves = planMoves({ ...estate }, options).length;
  });
  const objects = estate.hosts.map(({ name }) => poweredHost(name));
  let off = 0;
  const looks = timesOf(RUNS, () => {
    const verdict = decidePower({
      estate: { ...estate },
      hosts: objects,
      policies: [frugal()],
      unread: [],
      waiting: [],
      expected: new Set(),
      now: 1.9e12,
      controlPlanes: new Set(),
    });
    off = verdict.wishes.length;
  });
  survivalOf(estate);
  const newcomers: { machine: MachineView; host: string }[] = [];
  const before = { ...estate, machines: [...estate.machines] };
  const placeOne = (i: number) => {
    const machine = estate.machines[hosts * PER_HOST + i];
    const { host, reason } = machine ? place(estate, machine) : { host: undefined, reason: "" };
    if (!machine || !host) throw new Error(`no place for machine ${i}: ${reason.slice(0, 300)}`);
    newcomers.push({ machine, host });
    applyTo(estate, machine.key, host);
  };
  for (let i = 0; i < WARM; i++) placeOne(i);
  const places = timesOf(PLACEMENTS, (i) => placeOne(WARM + i));
  process.stdout.write(
    `${hosts} hosts, ${hosts * PER_HOST} machines: all losses proven in ${proofMs.toFixed(0)} ms (${faults} not survived); one placement ${at(places, 0.5).toFixed(2)} ms, p99 ${at(places, 0.99).toFixed(2)} ms; plan of ${moves} moves ${at(plans, 0.5).toFixed(0)} ms; which hosts are to be on ${at(looks, 0.5).toFixed(0)} ms (${off} wishes)\n`,
  );
  if (hosts <= BARS.bindHosts) {
    for (const losses of [2, 3]) process.stdout.write(manyLosses(before, losses));
    const cpuMs = await binds(before, newcomers);
    process.stdout.write(`${hosts} hosts: a bind takes ${cpuMs.toFixed(2)} ms of CPU in all\n`);
    if (hosts === BARS.bindHosts && cpuMs > BARS.bindMs) missed = true;
  }
  if (faults !== 0 || off === 0) missed = true;
  if (hosts >= BARS.hosts && (at(plans, 0.5) > BARS.planMs || at(places, 0.99) > BARS.placeMs)) missed = true;
}
process.exitCode = missed ? 1 : 0;
