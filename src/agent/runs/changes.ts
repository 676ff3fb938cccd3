/**
 * Brings a running machine to what its Instance asks for by now (compute/changes/): disks and networks that come and go, disks that grow, limits.
 * Between other work on the machine, never beside it: not while it moves, nor while its disks are worked on. What could not be done is told in
 * status.refused and tried again.
 */
import { isDeepStrictEqual } from "node:util";
import type { FilledDrive } from "../../compute/boot/kinds.ts";
import { type Has, inOrder, portsFor, type Refused } from "../../compute/changes/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { macKey } from "../../qemu/devices.ts";
import type { Fixed } from "../../qemu/fixed.ts";
import type { LackingMemory } from "../../qemu/hot-memory.ts";
import type { Adjusted } from "../../qemu/hotplug.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { keyOf } from "../../resource/object.ts";
import { formatBytes, parseBytes } from "../../resource/quantity.ts";
import type { HostEnvironment } from "../environment.ts";
import { type Hypervisor, HypervisorError, type MachineConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { about, idOf } from "./instance-status.ts";

type Write = (instance: Instance, change: { has: Has; refused: Refused[] }) => Promise<unknown>;
interface Context {
  hypervisor: Pick<Hypervisor, "adjust">;
  environment: Pick<HostEnvironment, "devices" | "growthLack" | "releaseInterface">;
  log: Logger;
  events: Pick<EventRecorder, "record">;
}

export class Changes {
  readonly #c: Context;
  readonly #write: Write;
  /** By machine: what this agent has done. The next one looks for itself. */
  readonly #done = new Map<string, string>();
  /** By machine: of what it wants, what its host had not the memory for when that was told. */
  readonly #lacking = new Map<string, LackingMemory & { wanted: string }>();

  constructor(context: Context, write: Write) {
    this.#c = context;
    this.#write = write;
  }

  /** @returns whether something is left to be done */
  async step(instance: Instance): Promise<boolean> {
    const { spec, status = {} } = instance;
    const id = idOf(instance);
    const { disks, cdDrives, interfaces, diskSize, diskLimits, cpus, memory, memoryTarget } = spec;
    const amounts = { diskSize, diskLimits, cpus, memory, memoryTarget };
    const wanted = JSON.stringify({ disks, cdDrives, interfaces, ...amounts });
    if (this.#done.get(id) === wanted) return false;
    const before = status.has ?? withoutPorts(spec);
    let after = { has: before, refused: [] as Refused[] };
    try {
      const lacking = this.#c.environment.growthLack(instance);
      const adjusted = await this.#c.hypervisor.adjust(id, {
        ...(await this.#c.environment.devices(instance)),
        cpus,
        memory: parseBytes(memory),
        ...(memoryTarget ? { memoryTarget: parseBytes(memoryTarget) } : {}),
        lacking,
      });
      after = outcome(instance, before, this.#toldOnce(instance, wanted, lacking, adjusted));
      for (const nic of before.interfaces)
        if (![...spec.interfaces, ...after.has.interfaces].some(({ mac }) => mac === nic.mac))
          await this.#c.environment.releaseInterface(instance, nic.mac);
    } catch (error) {
      if (!(error instanceof HypervisorError || error instanceof PrepareError)) throw error;
      this.#c.log.warn("changes", { instance: keyOf(instance), error });
      after.refused.push({ field: "disks", reason: error.message });
    }
    const told = { has: status.has, refused: status.refused ?? [] };
    if (!isDeepStrictEqual(told, after)) await this.#write(instance, after);
    if (after.refused.length > 0) return true;
    this.#done.set(id, wanted);
    return false;
  }

  forget(instance: Instance): void {
    this.#done.delete(idOf(instance));
    this.#lacking.delete(idOf(instance));
  }

  /** What is left of a host's memory is another figure at each look: people are told that of the first. */
  #toldOnce<T extends Adjusted>(instance: Instance, wanted: string, lacking: LackingMemory, adjusted: T): T {
    const id = idOf(instance);
    const before = this.#lacking.get(id);
    const told: LackingMemory = before?.wanted === wanted ? before : {};
    const now: LackingMemory & { wanted: string } = { wanted };
    const refused = adjusted.refused.map((refusal) => {
      const { of, why } = refusal;
      if ((of !== "memory" && of !== "memoryTarget") || why !== lacking[of]) return refusal;
      if (told[of] === undefined)
        this.#c.events.record(about(instance), "Warning", "MemoryShort", `${of}: ${why}`);
      now[of] = told[of] ?? why;
      return { ...refusal, why: now[of] };
    });
    this.#lacking.set(id, now);
    return { ...adjusted, refused };
  }
}

/** What a run has when it begins. */
export function beginning({ spec }: Instance): Has {
  if (spec.has) return spec.has;
  // One that comes from an agent which knows nothing of ports has none.
  if (spec.incoming) return withoutPorts(spec);
  const { cpus, memory, maxCpus, maxMemory } = spec;
  return {
    ...withoutPorts(spec),
    ports: portsFor(spec),
    cpus: { begun: cpus, now: cpus, most: Math.max(cpus, maxCpus ?? 0) },
    memory: { begun: memory, modules: [], most: maxMemory ?? memory },
  };
}

/** What a hypervisor is told of it. */
export function amountsOf(
  { cpus, memory }: Has,
  { spec }: Instance,
): Pick<MachineConfig, "cpus" | "memory" | "more"> {
  if (!cpus || !memory) return { cpus: spec.cpus, memory: parseBytes(spec.memory) };
  const begun = { cpus: cpus.begun, memory: parseBytes(memory.begun) };
  const most = { maxCpus: cpus.most, maxMemory: parseBytes(memory.most) };
  if (most.maxCpus === begun.cpus && most.maxMemory === begun.memory) return begun;
  return {
    ...begun,
    more: { ...most, cpus: cpus.now, modules: memory.modules.map((size) => parseBytes(size)) },
  };
}

const withoutPorts = ({
  disks = [],
  interfaces,
  cdDrives,
  bootOrder,
  generationId,
}: Instance["spec"]): Has => ({
  ports: 0,
  disks,
  interfaces,
  ...(cdDrives ? { cdDrives: cdDrives.map(filled) } : {}),
  ...(bootOrder ? { bootOrder } : {}),
  ...(generationId ? { tellsGeneration: true } : {}),
});

const filled = ({ name, image }: FilledDrive): FilledDrive => ({ name, ...(image ? { image } : {}) });

/** A machine that goes on with kept memory has everything where it was then: at its port, and in the order of then. */
export function asKept(
  { ports: _, more: _more, generationId, ...config }: MachineConfig,
  instance: Instance,
  then: Has = { ports: 0, disks: [], interfaces: [] },
): { config: MachineConfig; has: Has } {
  const { spec } = instance;
  const networkOf = (mac: string) => spec.interfaces.find((nic) => nic.mac === mac)?.network ?? mac;
  const placesOf = <T extends { port?: number }>(all: readonly T[], nameOf: (one: T) => string) => ({
    ports: new Map(all.map((one) => [nameOf(one), one.port])),
    order: all.map(nameOf),
  });
  const disks = placesOf(then.disks, ({ name }) => name);
  const networks = placesOf(then.interfaces, ({ network }) => network);
  const place = <T extends { port?: number }>(
    all: readonly T[],
    { ports, order }: typeof disks,
    nameOf: (one: T) => string,
  ) =>
    inOrder(all, order, nameOf).map((one) => {
      const { port: _port, ...rest } = one;
      const port = ports.get(nameOf(one));
      return { ...rest, ...(port === undefined ? {} : { port }) };
    });
  return {
    config: {
      ...config,
      ...amountsOf(then, instance),
      ...(then.ports > 0 ? { ports: then.ports } : {}),
      // The id is that of now; memory from before there was one has no device for it.
      ...(then.tellsGeneration && generationId ? { generationId } : {}),
      disks: place(config.disks, disks, ({ name = "" }) => name),
      nics: place(config.nics, networks, ({ mac }) => networkOf(mac)),
    },
    has: {
      ...then,
      // Drives are those of then; what is in them is what is to be in them now.
      ...(spec.cdDrives ? { cdDrives: spec.cdDrives.map(filled) } : {}),
      disks: place(spec.disks ?? [], disks, ({ name }) => name),
      interfaces: place(spec.interfaces, networks, ({ network }) => network),
    },
  };
}

function outcome(
  { spec }: Instance,
  before: Has,
  { disks, nics, fixed, cpus, modules, refused }: Adjusted & Fixed,
): { has: Has; refused: Refused[] } {
  const wanted = spec.disks ?? [];
  const isThere = <T extends { port?: number }>(one: T, is: (one: T) => boolean) =>
    one.port === undefined || is(one);
  const leaving = before.disks.filter(({ name }) => !wanted.some((disk) => disk.name === name));
  const left = before.interfaces.filter(({ mac }) => !spec.interfaces.some((nic) => nic.mac === mac));
  /** As it had them, but for what QEMU knows better: an agent of before may have followed the order of the spec. */
  const inPlace = <T>(
    all: readonly T[],
    had: readonly T[],
    fixed: readonly string[],
    by: (one: T) => string,
  ) => inOrder(inOrder(all, had.map(by), by), fixed, by);
  const inDrive = (drive: FilledDrive) => {
    const now = spec.cdDrives?.find(({ name }) => name === drive.name);
    return now && !refused.some(({ cd }) => cd === drive.name) ? filled(now) : drive;
  };
  const has: Has = {
    ...before,
    ...(before.cpus ? { cpus: { ...before.cpus, now: cpus || before.cpus.now } } : {}),
    ...(before.memory
      ? { memory: { ...before.memory, modules: modules.map((size) => formatBytes(size)) } }
      : {}),
    ...(before.cdDrives ? { cdDrives: before.cdDrives.map(inDrive) } : {}),
    disks: inPlace(
      [...wanted, ...leaving].filter((disk) => isThere(disk, ({ name }) => disks.includes(name))),
      before.disks,
      fixed.disks,
      ({ name }) => name,
    ),
    interfaces: inPlace(
      [...spec.interfaces, ...left].filter((nic) => isThere(nic, ({ mac }) => nics.includes(macKey(mac)))),
      before.interfaces,
      fixed.nics,
      ({ mac }) => macKey(mac),
    ),
  };
  const networkOf = (key: string) =>
    [...spec.interfaces, ...before.interfaces].find(({ mac }) => macKey(mac) === key)?.network ?? key;
  const fieldOf = (disk?: string, cd?: string, nic?: string) => {
    if (cd !== undefined) return `cdDrives[${cd}]`;
    if (nic !== undefined) return `networks[${networkOf(nic)}]`;
    return disk ? `disks[${disk}]` : "diskSize";
  };
  return {
    has,
    refused: refused.map(({ disk, cd, nic, of, why }) => ({
      field: of ?? fieldOf(disk, cd, nic),
      reason: why,
    })),
  };
}
