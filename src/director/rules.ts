/** What must hold: capacity, hosts that are open, required attributes, together, apart, spread. Pure. */
import { baseline, lackOf } from "../compute/hardware/kinds.ts";
import { platformObstacle } from "../compute/kinds.ts";
import { lackOfReserved, type Reserved } from "../compute/resources/kinds.ts";
import { formatBytes } from "../resource/quantity.ts";
import { breach } from "./attributes.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { domainOf, indexOf, type Use } from "./index.ts";
import type { Policy } from "./kinds.ts";

/** Highest priority first; ties by name. */
export function policiesOf(estate: Estate, machine: MachineView): readonly Policy[] {
  return indexOf(estate).policiesOf(machine);
}

/** What machines take of a host; a machine that moves counts on both. `without` leaves one machine out. */
export function usage(estate: Estate, host: string, without?: string): Use {
  const index = indexOf(estate);
  const all = index.use(host);
  const out = without === undefined ? undefined : index.get(without);
  if (!out || (out.host !== host && out.movingTo !== host)) return all;
  return {
    cpus: all.cpus - out.cpus,
    memoryBytes: all.memoryBytes - out.memoryBytes,
    machines: all.machines - 1,
  };
}

const MiB = 2 ** 20;
const size = (bytes: number) => formatBytes(Math.floor(bytes / MiB) * MiB);

/** Why `machine` may not be on `host`, given where all others are; undefined when it may. The first breach that is found. */
export function obstacle(estate: Estate, machine: MachineView, host: HostView): string | undefined {
  if (host.closed && machine.host !== host.name) return host.closed;
  if (machine.disksOn !== undefined && machine.disksOn !== host.name)
    return `its disks are on ${machine.disksOn}, in a storage pool that is not shared`;
  const why = moveObstacle(estate, machine, host) ?? lack(machine, host);
  if (why) return why;
  const own = ownObstacle(estate, machine, host);
  if (own) return own;
  const used = usage(estate, host.name, machine.key);
  const [cpus, memory] = [host.cpus - used.cpus, host.memoryBytes - used.memoryBytes];
  if (machine.memoryBytes > memory)
    return `needs ${size(machine.memoryBytes)} memory, ${size(Math.max(0, memory))} of ${size(host.memoryBytes)} is free`;
  if (machine.cpus > cpus) return `needs ${machine.cpus} CPUs, ${Math.max(0, cpus)} of ${host.cpus} are free`;
  for (const policy of policiesOf(estate, machine)) {
    for (const rule of policy.spec.required ?? []) {
      const why = breach(host, rule);
      if (why) return `policy ${JSON.stringify(policy.metadata.name)} ${why}`;
    }
    const why = groupBreach(estate, policy, machine, host);
    if (why) return `policy ${JSON.stringify(policy.metadata.name)} ${why}`;
  }
  return undefined;
}

const isForeign = ({ needs }: MachineView) => needs?.offers.includes("aarch64") ?? false;
const acceleratorFor = (machine: MachineView, host: HostView) =>
  isForeign(machine) ? "tcg" : host.accelerator;

function lack({ needs }: MachineView, { has = {} }: HostView): string | undefined {
  return needs && lackOf(needs, has);
}

/** Of what it is to have of its host alone. */
function ownObstacle({ machines }: Estate, machine: MachineView, host: HostView): string | undefined {
  if (!machine.reserved) return undefined;
  const { node: _, ...wants } = machine.reserved;
  const there = machines.flatMap((m): Reserved[] => {
    if (!m.reserved || m.key === machine.key) return [];
    if (m.host === host.name) return [m.reserved];
    // Which node it comes to be on is chosen there.
    const { node: __, ...reserved } = m.reserved;
    return m.movingTo === host.name ? [reserved] : [];
  });
  return lackOfReserved(host.reservable ?? {}, wants, there);
}

/**
 * The CPU for a machine that has none yet: the best that all hosts have where its policies and its hardware allow it to be, and that run
 * guests as `host` does, so that it can be moved to any of them. Undefined when they have none in common: then it is that of its host.
 */
export function cpuFor(estate: Estate, machine: MachineView, host: HostView): string | undefined {
  // Emulated, it is the same everywhere.
  if (isForeign(machine)) return undefined;
  const required = policiesOf(estate, machine).flatMap(({ spec }) => spec.required ?? []);
  const allowed = estate.hosts.filter(
    (other) =>
      other.accelerator === host.accelerator &&
      !lack(machine, other) &&
      !required.some((rule) => breach(other, rule)),
  );
  return baseline(
    host.accelerator,
    allowed.map(({ has = {} }) => has),
  );
}

/** Of a machine that runs elsewhere: whether it can go on here without being stopped; of one that was suspended: whether it can go on here. */
function moveObstacle(estate: Estate, machine: MachineView, host: HostView): string | undefined {
  const here = () => ({ ...host, ...host.has, accelerator: acceleratorFor(machine, host) });
  if (machine.host === undefined) {
    const why = machine.resumes && platformObstacle(machine.resumes, here());
    return (
      why &&
      `cannot go on with the memory that the machine was suspended with: ${why}; spec.discardMemory boots it anywhere`
    );
  }
  if (machine.host === host.name) return undefined;
  const from = machine.platform ?? estate.hosts.find(({ name }) => name === machine.host);
  return from && platformObstacle(from, here());
}

function groupBreach(
  estate: Estate,
  policy: Policy,
  machine: MachineView,
  host: HostView,
): string | undefined {
  const { keepApart, keepTogether, spread } = policy.spec;
  if (!keepApart && !keepTogether && !spread) return undefined;
  const index = indexOf(estate);
  const group = index.group(policy);
  const self = index.get(machine.key);
  const others = () =>
    group.members.flatMap((i) => {
      const other = index.machines[i];
      return other && other.key !== machine.key && other.host ? [other] : [];
    });
  const selfIn = (level: "host" | "rack", domain: string) =>
    self?.host ? index.placesOf(self, level).filter((place) => place === domain).length : 0;
  const countOf = (level: "host" | "rack", domain: string) =>
    (group.counts[level].get(domain) ?? 0) - selfIn(level, domain);
  if (keepApart && countOf(keepApart, domainOf(host, keepApart)) > 0) {
    const here = others().find((m) => index.placesOf(m, keepApart).includes(domainOf(host, keepApart)));
    if (here) return `keeps its machines on different ${keepApart}s, ${here.name} is there`;
  }
  if (keepTogether && group.placed > (self?.host ? 1 : 0)) {
    const there = others().find(
      (m) => !index.placesOf(m, keepTogether).includes(domainOf(host, keepTogether)),
    );
    if (there) return `keeps its machines on one ${keepTogether}, ${there.name} is on ${there.host}`;
  }
  if (spread) {
    const here = countOf(spread, domainOf(host, spread));
    // Nobody has fewer than none.
    if (here === 0) return undefined;
    // Only domains that could take a machine count: an empty host that is closed does not forbid all others.
    const open = new Set(estate.hosts.filter((h) => !h.closed).map((h) => domainOf(h, spread)));
    for (const place of group.counts[spread].keys()) open.add(place);
    const least = Math.min(...[...open].map((place) => countOf(spread, place)));
    if (here > least) return `spreads its machines over ${spread}s: ${here} of them here, ${least} elsewhere`;
  }
  return undefined;
}
