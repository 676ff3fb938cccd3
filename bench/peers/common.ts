/** What the rules of all peers need: the estate as hosts with what is on each. */
import type { Estate, HostView, MachineView } from "../../src/director/estate/estate.ts";
import { processorsOf } from "../../src/director/estate/use.ts";

export interface Guest {
  machine: MachineView;
  /** Processors that it used until now; at a start what the peer assumes. */
  used: number;
}

export class Node {
  readonly host: HostView;
  readonly processors: number;
  readonly guests: Guest[] = [];
  used = 0;
  memoryBytes = 0;
  /** Virtual CPUs. */
  cpus = 0;

  constructor(host: HostView) {
    this.host = host;
    this.processors = processorsOf(host);
  }

  get name(): string {
    return this.host.name;
  }

  /** Shares. */
  get cpuLoad(): number {
    return this.used / this.processors;
  }

  get memoryLoad(): number {
    return this.memoryBytes / this.host.memoryBytes;
  }

  get freeBytes(): number {
    return this.host.memoryBytes - this.memoryBytes;
  }

  add(guest: Guest): void {
    this.guests.push(guest);
    this.used += guest.used;
    this.memoryBytes += guest.machine.memoryBytes;
    this.cpus += guest.machine.cpus;
  }

  take(guest: Guest): void {
    this.guests.splice(this.guests.indexOf(guest), 1);
    this.used -= guest.used;
    this.memoryBytes -= guest.machine.memoryBytes;
    this.cpus -= guest.machine.cpus;
  }

  /** All of them here only let in what has room: memory, and their CPUs once. */
  fits({ machine }: Guest): boolean {
    return machine.memoryBytes <= this.freeBytes && machine.cpus <= this.host.cpus - this.cpus;
  }
}

export function nodesOf(estate: Estate, used: (i: number) => number): Node[] {
  const nodes = new Map(estate.hosts.map((host) => [host.name, new Node(host)]));
  for (const [i, machine] of estate.machines.entries())
    if (machine.host !== undefined) nodes.get(machine.host)?.add({ machine, used: used(i) });
  return [...nodes.values()];
}

/** Makes the move among the nodes, and tells it. */
export function moved(guest: Guest, from: Node, to: Node): { key: string; to: string } {
  from.take(guest);
  to.add(guest);
  return { key: guest.machine.key, to: to.name };
}

/** Kept from one start to the next, because thousands start one after the other. */
export class Starts {
  private nodes: Node[] | undefined;

  /** @param assumed processors that a machine that has not run is taken to use */
  place(
    estate: Estate,
    machine: MachineView,
    assumed: number,
    choose: (nodes: readonly Node[], guest: Guest) => Node | undefined,
  ): string | undefined {
    this.nodes ??= estate.hosts.map((host) => new Node(host));
    const guest = { machine, used: assumed };
    const node = choose(
      this.nodes.filter((each) => each.fits(guest)),
      guest,
    );
    node?.add(guest);
    return node?.name;
  }
}
