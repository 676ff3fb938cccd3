/** Where a machine's disks and networks are: the lowest port that is free, and from then on that one. Pure. */

import type { KnownDisk, PlacedDisk } from "../disks/kinds.ts";
import { hotPlugOf } from "../hardware/kinds.ts";
import { limited, type RunInterface } from "../interfaces.ts";
import type { Interface } from "../ipam.ts";
import type { VirtualMachine } from "../kinds.ts";

export interface Places {
  interfaces: Interface[];
  disks: KnownDisk[];
}

/** What status.interfaces and status.disks are to say. Disks that are not in spec.disks are kept without a port. */
export function placed({ spec, status }: VirtualMachine, interfaces: readonly Interface[]): Places {
  const known = status?.disks ?? [];
  const wanted = (spec.disks ?? []).map(
    ({ name, size }): KnownDisk => ({
      ...known.find((disk) => disk.name === name),
      name,
      ...(size === undefined ? {} : { size }),
    }),
  );
  const taken = new Set<number>();
  const claim = ({ port }: { port?: number }) => port !== undefined && !taken.has(port) && taken.add(port);
  const keep = <T extends { port?: number }>(all: readonly T[]): [T, boolean][] =>
    all.map((each) => [each, Boolean(claim(each))]);
  const give = <T extends { port?: number }>([each, has]: [T, boolean]): T => {
    if (has) return each;
    let port = 0;
    while (taken.has(port)) port += 1;
    taken.add(port);
    return { ...each, port };
  };
  const [nics, disks] = [keep(interfaces), keep(wanted)];
  const names = new Set(wanted.map(({ name }) => name));
  const gone = known.filter(({ name }) => !names.has(name)).map(({ port: _, ...disk }) => disk);
  return { interfaces: nics.map(give), disks: [...disks.map(give), ...gone] };
}

/** The disks of spec.disks as a run of this hardware has them. */
export function placedDisks({ spec, status }: VirtualMachine, hardware = spec.hardware): PlacedDisk[] {
  const { disks: hasPorts } = hotPlugOf(hardware);
  return (spec.disks ?? []).map((disk) => {
    const { port, made } = status?.disks?.find(({ name }) => name === disk.name) ?? {};
    return {
      ...disk,
      ...(hasPorts && port !== undefined ? { port } : {}),
      ...(made ? { exists: true } : {}),
    };
  });
}

/** The interfaces as a run of the machine has them. */
export const placedInterfaces = (
  interfaces: readonly Interface[],
  spec: VirtualMachine["spec"],
): RunInterface[] =>
  interfaces.map(({ port, ...nic }) =>
    limited({ ...nic, ...(hotPlugOf(spec.hardware).nics && port !== undefined ? { port } : {}) }, spec),
  );
