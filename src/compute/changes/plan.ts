/**
 * What of a machine's spec can go to the run that it has, and what waits for the next one. Pure.
 *
 * Nothing that was changed is ever passed over in silence: what is neither in the run nor on its way is among the pending changes, with the reason.
 */
import { isDeepStrictEqual } from "node:util";
import { formatBytes, parseBytes } from "../../resource/quantity.ts";
import type { PlacedDisk } from "../disks/kinds.ts";
import { hardwareOf, hotPlugOf } from "../hardware/kinds.ts";
import { limited, type RunInterface } from "../interfaces.ts";
import type { Instance, VirtualMachine } from "../kinds.ts";
import { adjusted, keptOf } from "../resources/kinds.ts";
import { type Has, inOrder, memoryNow, type PendingChange } from "./kinds.ts";
import { placedDisks } from "./places.ts";

type Run = Instance["spec"];

/** Why the host of a run cannot give it more of these. */
export type NoRoom = Partial<Record<"cpus" | "memory", string>>;

export interface LivePlan {
  /** What the run is to be asked for. */
  spec: Run;
  pending: PendingChange[];
}

/** What a run is begun with, and then as it is until its end; with why. */
const FIXED = {
  maxCpus: "the run has the room that it began with",
  maxMemory: "the run has the room that it began with",
  hardware: "a guest finds its hardware as it was when it started",
  bootOrder: "its firmware is told at its start",
  guest: "a guest asks for its host name when it starts",
} as const;

/**
 * `instance`: the run that is the machine now, not one that is being made elsewhere.
 */
export function livePlan(vm: VirtualMachine, instance: Instance, noRoom: NoRoom = {}): LivePlan {
  const plan = new Plan(vm, instance);
  plan.resources();
  plan.disks();
  plan.networks();
  plan.cdDrives();
  plan.cpus(noRoom.cpus);
  plan.memory(noRoom.memory);
  for (const field of ["maxCpus", "maxMemory", "hardware", "bootOrder", "guest"] as const) plan.fixed(field);
  plan.underWay();
  plan.order();
  return { spec: plan.spec, pending: plan.pending };
}

class Plan {
  readonly pending: PendingChange[] = [];
  spec: Run;
  readonly #vm: VirtualMachine;
  readonly #run: Run;
  readonly #has: Has | undefined;
  readonly #accelerator: string | undefined;
  readonly #refused: NonNullable<NonNullable<Instance["status"]>["refused"]>;

  constructor(vm: VirtualMachine, { spec, status }: Instance) {
    this.#vm = vm;
    this.#run = spec;
    this.#has = status?.has ?? spec.has;
    this.#refused = status?.refused ?? [];
    this.#accelerator = status?.accelerator;
    const { resources: _r, readiness: _d, diskLimits: _l, memoryTarget: _t, ...rest } = spec;
    const { readiness, diskLimits, diskSize, memoryTarget } = vm.spec;
    const resources = adjusted(spec.resources, vm.spec.resources);
    this.spec = {
      ...rest,
      ...(resources ? { resources } : {}),
      ...(readiness ? { readiness } : {}),
      ...(diskLimits ? { diskLimits } : {}),
      ...(diskSize ? { diskSize } : {}),
      ...(memoryTarget ? { memoryTarget } : {}),
    };
  }

  resources(): void {
    const [from, to] = [keptOf(this.#run.resources), keptOf(this.#vm.spec.resources)];
    if (!isDeepStrictEqual(from, to))
      this.#wait("resources", from, to, "what is its own of a host is given at its start");
  }

  cpus(noRoom?: string): void {
    const [from, to] = [this.#run.cpus, this.#vm.spec.cpus];
    if (from === to) return;
    const { begun, now, most } = this.#has?.cpus ?? { begun: from, now: from, most: from };
    const why =
      most === begun
        ? "the run has the CPUs that it began with; spec.maxCpus gives the next one room for more"
        : to > most
          ? `the run has room for ${most} (spec.maxCpus when it began)`
          : to < begun
            ? `the ${begun} that it began with stay`
            : to < now && this.#accelerator === "tcg"
              ? "emulated CPUs (tcg) come while it runs, and do not go"
              : undefined;
    this.#amount("cpus", from, to, why, to > from ? noRoom : undefined);
  }

  memory(noRoom?: string): void {
    const { memory: from } = this.#run;
    const { memory: to } = this.#vm.spec;
    const [is, wanted] = [parseBytes(from), parseBytes(to)];
    if (is === wanted) return;
    const { begun, most } = this.#has?.memory ?? { begun: from, most: from };
    const rest = (wanted - parseBytes(begun)) % MODULE_STEP;
    const why =
      parseBytes(most) === parseBytes(begun)
        ? "the run has the memory that it began with; spec.maxMemory gives the next one room for more"
        : wanted > parseBytes(most)
          ? `the run has room for ${most} (spec.maxMemory when it began)`
          : wanted < parseBytes(begun)
            ? `the ${begun} that it began with stay; spec.memoryTarget has the guest make do with less`
            : rest !== 0
              ? `memory comes in steps of ${formatBytes(MODULE_STEP)} while it runs, from ${begun} on`
              : undefined;
    this.#amount("memory", from, to, why, wanted > is ? noRoom : undefined);
  }

  #amount(field: "cpus" | "memory", from: unknown, to: unknown, why?: string, noRoom?: string): void {
    if (why ?? noRoom) this.#wait(field, from, to, why ?? noRoom ?? "", why !== undefined);
    else this.spec = { ...this.spec, [field]: to };
  }

  /** In the order of the run: what comes is behind what is there. */
  disks(): void {
    const { hardware } = this.#run;
    const running = this.#inPlace.disks;
    const wanted = placedDisks(this.#vm, hardware);
    const can = this.#hot("disks");
    const next = running.flatMap((now) => {
      const disk = wanted.find(({ name }) => name === now.name);
      if (disk) return [this.#changed(now, disk)];
      const why = can ?? (now.port === undefined ? "it is at a fixed place" : undefined);
      if (why) this.#wait(`disks[${now.name}]`, now, undefined, why);
      return why ? [now] : [];
    });
    for (const disk of wanted) {
      if (running.some(({ name }) => name === disk.name)) continue;
      const why = can ?? this.#placeFor(disk.port);
      if (why) this.#wait(`disks[${disk.name}]`, undefined, disk, why);
      else next.push(disk);
    }
    const { disks: _, ...rest } = this.spec;
    this.spec = { ...rest, ...(next.length > 0 || running.length > 0 ? { disks: next } : {}) };
  }

  #changed(now: PlacedDisk, { name, readOnly, limits, size }: PlacedDisk): PlacedDisk {
    const [from, to] = [now.readOnly ?? false, readOnly ?? false];
    if (from !== to) this.#wait(`disks[${name}].readOnly`, from, to, "the guest has it open as it is");
    const { limits: _l, size: _s, ...kept } = now;
    return { ...kept, ...(limits ? { limits } : {}), ...(size ? { size } : {}) };
  }

  networks(): void {
    const running = this.#inPlace.interfaces;
    const interfaces = this.#vm.status?.interfaces ?? [];
    const can = this.#hot("nics");
    const next = running.flatMap((nic) => {
      if (this.#vm.spec.networks.includes(nic.network)) return [limited(nic, this.#vm.spec)];
      const why = can ?? (nic.port === undefined ? "it is at a fixed place" : undefined);
      if (why) this.#wait(`networks[${nic.network}]`, nic.network, undefined, why);
      return why ? [nic] : [];
    });
    for (const network of this.#vm.spec.networks) {
      if (running.some((nic) => nic.network === network)) continue;
      const nic = interfaces.find((each) => each.network === network);
      const why =
        can ?? (nic ? this.#placeFor(nic.port) : `network ${network} does not exist, or has no free address`);
      if (why)
        this.#wait(`networks[${network}]`, undefined, network, why, can !== undefined || nic !== undefined);
      if (!why && nic) next.push(limited(nic, this.#vm.spec));
    }
    this.spec = { ...this.spec, interfaces: next };
  }

  /** What has no port is found by its order. Last: of each field one thing is told. */
  order(): void {
    const { hardware } = this.#run;
    const { disks = [], interfaces } = this.spec;
    const fixed = <T extends { port?: number }>(all: readonly T[]) =>
      all.filter(({ port }) => port === undefined);
    this.#inOrder("disks", fixed(disks).map(nameOf), fixed(placedDisks(this.#vm, hardware)).map(nameOf));
    const networks = hotPlugOf(hardware).nics ? [] : this.#vm.spec.networks;
    this.#inOrder("networks", fixed(interfaces).map(networkOf), networks);
  }

  #inOrder(field: "disks" | "networks", now: readonly string[], wanted: readonly string[]): void {
    const [from, to] = [now.filter((one) => wanted.includes(one)), wanted.filter((one) => now.includes(one))];
    if (isDeepStrictEqual(from, to) || this.pending.some((one) => one.field === field)) return;
    this.#wait(field, from.join(", "), to.join(", "), "their order is that in which the run began");
  }

  cdDrives(): void {
    const [running, wanted] = [this.#run.cdDrives ?? [], this.#vm.spec.cdDrives ?? []];
    const why = "a drive comes and goes when the machine starts; what is in it, at any time";
    const named = (drives: typeof running, name: string) => drives.find((drive) => drive.name === name);
    for (const drive of wanted)
      if (!named(running, drive.name)) this.#wait(`cdDrives[${drive.name}]`, undefined, drive, why);
    for (const drive of running)
      if (!named(wanted, drive.name)) this.#wait(`cdDrives[${drive.name}]`, drive, undefined, why);
    if (running.length > 0)
      this.spec = { ...this.spec, cdDrives: running.map((drive) => named(wanted, drive.name) ?? drive) };
  }

  fixed(field: keyof typeof FIXED): void {
    const [from, to] = [this.#run[field], this.#vm.spec[field]];
    const same =
      field === "hardware"
        ? isDeepStrictEqual(wholeHardware(this.#run), wholeHardware(this.#vm.spec))
        : isDeepStrictEqual(from, to);
    if (!same) this.#wait(field, from, to, FIXED[field]);
  }

  /** What the run has been asked for and has not got. */
  underWay(): void {
    const told = new Set(this.pending.map(({ field }) => field));
    const also = (field: string, from: unknown, to: unknown, otherwise: string) => {
      const reason = this.#refused.find((each) => each.field === field)?.reason ?? otherwise;
      if (!told.has(field)) this.#wait(field, from, to, reason, false);
      told.add(field);
    };
    const has = this.#has;
    if (has) {
      // Also what it is about to be asked for.
      const { disks = [], interfaces } = this.spec;
      const missing = <T>(all: readonly T[], some: readonly T[], by: (one: T) => string) =>
        all.filter((one) => !some.some((other) => by(other) === by(one)));
      const { cpus, memory } = this.spec;
      if (has.cpus && has.cpus.now !== cpus) also("cpus", has.cpus.now, cpus, "is being tried");
      if (has.memory && memoryNow(has.memory) !== parseBytes(memory))
        also("memory", formatBytes(memoryNow(has.memory)), memory, "is being tried");
      for (const { name, image } of this.spec.cdDrives ?? []) {
        const now = has.cdDrives?.find((drive) => drive.name === name);
        if (now?.image !== image)
          also(`cdDrives[${name}]`, now?.image, image, image ? "is being inserted" : "is being taken out");
      }
      for (const disk of missing(disks, has.disks, nameOf))
        also(`disks[${disk.name}]`, undefined, disk, "is being attached");
      for (const disk of missing(has.disks, disks, nameOf))
        also(`disks[${disk.name}]`, disk, undefined, "the guest is asked to let go of it");
      for (const { network } of missing(interfaces, has.interfaces, macOf))
        also(`networks[${network}]`, undefined, network, "is being attached");
      for (const { network } of missing(has.interfaces, interfaces, macOf))
        also(`networks[${network}]`, network, undefined, "the guest is asked to let go of it");
    }
    // What its balloon has given back by now only QEMU knows.
    const { memory, memoryTarget = memory } = this.spec;
    for (const { field, reason } of this.#refused)
      also(field, undefined, field === "memoryTarget" ? memoryTarget : undefined, reason);
  }

  /** What it is asked for by now, in the order in which it has that. */
  get #inPlace(): { disks: PlacedDisk[]; interfaces: RunInterface[] } {
    const { disks = [], interfaces } = this.#run;
    const { disks: hasDisks = [], interfaces: hasInterfaces = [] } = this.#has ?? {};
    return {
      disks: inOrder(disks, hasDisks.map(nameOf), nameOf),
      interfaces: inOrder(interfaces, hasInterfaces.map(macOf), macOf),
    };
  }

  /** Why nothing of the sort can come or go in this run; undefined when it can. */
  #hot(what: "disks" | "nics"): string | undefined {
    const { hardware } = this.#run;
    const { board, disks, nics } = hardwareOf(hardware);
    if (!hotPlugOf(hardware)[what])
      return `with the board ${board} and ${what === "disks" ? `disks of ${disks}` : `networks of ${nics}`} none come or go while it runs`;
    if (!this.#has) return "the run has not told what it has; it may be of an older Vireo";
    return this.#has.ports > 0 ? undefined : "the run began without places for more";
  }

  #placeFor(port: number | undefined): string | undefined {
    const { ports = 0 } = this.#has ?? {};
    return port !== undefined && port < ports
      ? undefined
      : `all ${ports} places of this run are taken; the next one has more`;
  }

  #wait(field: string, from: unknown, to: unknown, reason: string, restart = true): void {
    this.pending.push({
      field,
      ...(from === undefined ? {} : { from: shown(from) }),
      ...(to === undefined ? {} : { to: shown(to) }),
      restart,
      reason,
    });
  }
}

const nameOf = ({ name }: { name: string }) => name;
const networkOf = ({ network }: { network: string }) => network;
const macOf = ({ mac }: { mac: string }) => mac;

/** machineType and cpu decide about the next start, too. */
const wholeHardware = ({ hardware }: Pick<Run, "hardware">) => ({ ...hardware, ...hardwareOf(hardware) });

/** What Linux takes at a time. */
const MODULE_STEP = 128 * 2 ** 20;
const MAX_SHOWN = 200;
function shown(value: unknown): string {
  const text = typeof value === "object" ? JSON.stringify(value, ORDER) : String(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
/** Where it is, and whether it was seen before, is none of the user's concern. */
const ORDER = (key: string, value: unknown) => (key === "port" || key === "exists" ? undefined : value);

/** "cpus: 2 → 4 (the run has …)" */
export const tell = ({ field, from, to, reason }: PendingChange) =>
  `${field}: ${from ?? "nothing"} → ${to ?? "nothing"} (${reason})`;
