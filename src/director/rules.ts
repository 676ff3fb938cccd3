/** What must hold: capacity, hosts that are open, required attributes, together, apart, spread. Pure. */
import { baseline, lackOf } from "../compute/hardware/kinds.ts";
import { platformObstacle } from "../compute/kinds.ts";
import { lackOfReserved, type Reserved } from "../compute/resources/kinds.ts";
import { formatBytes } from "../resource/quantity.ts";
import { breach } from "./attributes.ts";
import { type Estate, type HostView, type MachineView, usage } from "./estate.ts";
import type { Policy } from "./kinds.ts";

/** Whether the policy chooses the machine: same namespace, labels match. */
export function chooses(policy: Policy, machine: MachineView): boolean {
  if ((policy.metadata.namespace ?? "default") !== machine.namespace) return false;
  const { matchLabels = {}, matchExpressions = [] } = policy.spec.selector;
  const { labels } = machine;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every((expression) => holds(expression, labels))
  );
}

type Expression = NonNullable<Policy["spec"]["selector"]["matchExpressions"]>[number];

function holds({ key, operator, values = [] }: Expression, labels: Record<string, string>): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** Highest priority first; ties by name. */
export function policiesOf(estate: Estate, machine: MachineView): Policy[] {
  return estate.policies
    .filter((policy) => chooses(policy, machine))
    .sort((a, b) => b.spec.priority - a.spec.priority || (a.metadata.name < b.metadata.name ? -1 : 1));
}

const MiB = 2 ** 20;
const size = (bytes: number) => formatBytes(Math.floor(bytes / MiB) * MiB);
const domainOf = (host: HostView, domain: "host" | "rack") => (domain === "host" ? host.name : host.rack);

/** Why `machine` may not be on `host`, given where all others are; undefined when it may. The first breach that is found. */
export function obstacle(estate: Estate, machine: MachineView, host: HostView): string | undefined {
  if (host.closed && machine.host !== host.name) return host.closed;
  if (machine.disksOn !== undefined && machine.disksOn !== host.name)
    return `its disks are on ${machine.disksOn}, in a storage pool that is not shared`;
  const why = moveObstacle(estate, machine, host) ?? lack(machine, host);
  if (why) return why;
  const used = usage(estate, host.name, machine.key);
  const [cpus, memory] = [host.cpus - used.cpus, host.memoryBytes - used.memoryBytes];
  if (machine.memoryBytes > memory)
    return `needs ${size(machine.memoryBytes)} memory, ${size(Math.max(0, memory))} of ${size(host.memoryBytes)} is free`;
  if (machine.cpus > cpus) return `needs ${machine.cpus} CPUs, ${Math.max(0, cpus)} of ${host.cpus} are free`;
  const own = ownObstacle(estate, machine, host);
  if (own) return own;
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
  const hosts = new Map(estate.hosts.map((h) => [h.name, h]));
  const others = estate.machines.filter((m) => m.key !== machine.key && m.host && chooses(policy, m));
  const placesOf = (m: MachineView, domain: "host" | "rack") =>
    [m.host, m.movingTo].flatMap((name) => {
      const at = name === undefined ? undefined : hosts.get(name);
      return at ? [domainOf(at, domain)] : [];
    });
  if (keepApart) {
    const here = others.find((m) => placesOf(m, keepApart).includes(domainOf(host, keepApart)));
    if (here) return `keeps its machines on different ${keepApart}s, ${here.name} is there`;
  }
  if (keepTogether) {
    const there = others.find((m) => !placesOf(m, keepTogether).includes(domainOf(host, keepTogether)));
    if (there) return `keeps its machines on one ${keepTogether}, ${there.name} is on ${there.host}`;
  }
  if (spread) {
    // Only domains that could take a machine count: an empty host that is closed does not forbid all others.
    const counts = new Map(estate.hosts.filter((h) => !h.closed).map((h) => [domainOf(h, spread), 0]));
    for (const m of others)
      for (const place of placesOf(m, spread)) counts.set(place, (counts.get(place) ?? 0) + 1);
    const here = counts.get(domainOf(host, spread)) ?? 0;
    const least = Math.min(...counts.values());
    if (here > least) return `spreads its machines over ${spread}s: ${here} of them here, ${least} elsewhere`;
  }
  return undefined;
}
