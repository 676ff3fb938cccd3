/**
 * Hardware profiles of development hosts. Declared, not measured: Host.status.facts.source says so. They differ so that
 * policies have something to choose between on one machine.
 */
import type { DeclaredProfile } from "../agent/facts.ts";

export interface DevelopmentHost {
  name: string;
  profile: DeclaredProfile;
}

const SORTS = [
  { name: "fast", model: "Declared fast server", mhz: 3800, idleWatts: 120, maxWatts: 400 },
  { name: "frugal", model: "Declared frugal server", mhz: 2000, idleWatts: 20, maxWatts: 60 },
  { name: "middle", model: "Declared middle server", mhz: 2800, idleWatts: 60, maxWatts: 180 },
] as const;

/** `count` hosts: fast-1, frugal-1, middle-1, fast-2, …; the machine's memory and CPUs are shared out evenly. */
export function developmentHosts(
  count: number,
  machine: { cpus: number; memoryBytes: number },
): DevelopmentHost[] {
  // Two virtual CPUs a core in all, as development machines are rarely busy; at least two a host, or nothing fits.
  const cpus = Math.max(2, Math.floor((machine.cpus * 2) / count));
  // A quarter of the memory stays with this machine.
  const memoryBytes = Math.floor((machine.memoryBytes * 0.75) / count / 2 ** 26) * 2 ** 26;
  return Array.from({ length: count }, (_, i) => {
    const sort = SORTS[i % SORTS.length] ?? SORTS[0];
    return {
      name: `${sort.name}-${Math.floor(i / SORTS.length) + 1}`,
      profile: {
        cpu: { model: sort.model, sockets: 1, cores: cpus, threads: cpus, mhz: sort.mhz },
        memoryBytes,
        power: { idleWatts: sort.idleWatts, maxWatts: sort.maxWatts },
      },
    };
  });
}
