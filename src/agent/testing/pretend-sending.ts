/** The sending of pretended machines to another host, with their disks or without. What is on its way goes on whether or not an agent lives, as in QEMU. */
import {
  type DiskProgress,
  HypervisorError,
  type MachineConfig,
  type MachineId,
  type MigrationProgress,
} from "../hypervisor.ts";
import { ARRIVED, IDLE, type Machine, type PretendWorld } from "./pretend-world.ts";

export class PretendSending {
  readonly #world: PretendWorld;
  readonly #need: (id: MachineId) => Machine;

  /** @param need the machine, when it runs on this host. @throws HypervisorError */
  constructor(world: PretendWorld, need: (id: MachineId) => Machine) {
    this.#world = world;
    this.#need = need;
  }

  copyDisks(id: MachineId, address: string): void {
    const target = machineAt(address);
    const machine = this.#need(id);
    if (machine.copies) return;
    this.#world.set(id, { copies: { phase: "copying", transferredBytes: 1, remainingBytes: 1, target } });
    void this.#copy(id, target);
  }

  async #copy(id: MachineId, target: MachineId): Promise<void> {
    await this.#world.pause();
    const machine = this.#world.machines.get(id);
    if (machine?.copies?.phase !== "copying" || machine.copies.target !== target) return;
    const broken = this.#world.options.random() < this.#world.options.breakage;
    this.#world.set(id, {
      copies: broken
        ? { ...machine.copies, phase: "failed", error: "pretended: the copying broke" }
        : { ...machine.copies, phase: "ready", remainingBytes: 0 },
    });
  }

  diskCopies(id: MachineId): DiskProgress {
    const { copies } = this.#need(id);
    if (!copies) return { phase: "none", transferredBytes: 0, remainingBytes: 0 };
    const there = this.#world.machines.get(copies.target);
    return copies.phase === "ready" && there?.state !== "incoming"
      ? { ...copies, phase: "failed", error: "pretended: the target is gone" }
      : copies;
  }

  async finishDiskCopies(id: MachineId): Promise<void> {
    const machine = this.#need(id);
    const { phase, error = "pretended: not copied" } = this.diskCopies(id);
    const there = machine.copies && this.#world.machines.get(machine.copies.target);
    if (phase === "finished") return;
    if (phase !== "ready" || !machine.copies || !there) throw new HypervisorError(error);
    if (machine.migration.phase !== "pre-switchover")
      this.#world.violations.push(`the copies of ${machine.config.name} were ended while its guest ran`);
    for (const { path } of there.config.disks) this.#world.local.copied(path, there.host);
    this.#world.set(id, { copies: { ...machine.copies, phase: "finished" } });
    await this.#world.pause();
  }

  abandonDiskCopies(id: MachineId): void {
    const machine = this.#need(id);
    machine.slowed = false;
    if (machine.copies) this.#world.set(id, { copies: undefined as never });
  }

  migrate(id: MachineId, address: string): void {
    const machine = this.#need(id);
    if (["active", "pre-switchover", "completed"].includes(machine.migration.phase)) return;
    const target = machineAt(address);
    this.#world.set(id, { target, migration: { ...IDLE, phase: "active" } });
    void this.#stream(id, target);
  }

  async #stream(id: MachineId, target: MachineId): Promise<void> {
    await this.#world.pause();
    const machine = this.#world.machines.get(id);
    if (machine?.migration.phase !== "active" || machine.target !== target) return;
    const there = this.#world.machines.get(target);
    const broken = this.#world.options.random() < this.#world.options.breakage;
    const fits = there && hardwareOf(there.config) === hardwareOf(machine.config);
    if (!fits) this.#world.unfit.push(machine.config.name);
    if (broken || !fits || there?.state !== "incoming") {
      this.#world.set(id, { migration: { ...IDLE, phase: "failed", error: "pretended: the stream broke" } });
      if (there?.state === "incoming")
        this.#world.set(target, {
          state: "ended",
          end: { reason: "MigrationFailed", message: "pretended: the stream broke" },
        });
    } else this.#world.set(id, { migration: { ...IDLE, phase: "pre-switchover" } });
  }

  async switchover(id: MachineId): Promise<MigrationProgress> {
    const machine = this.#need(id);
    if (machine.migration.phase === "pre-switchover") {
      if (this.#world.local.has(machine.config.disks[0]?.path ?? "") && machine.copies?.phase !== "finished")
        this.#world.violations.push(`${machine.config.name} was sent without its disks`);
      const there = machine.target && this.#world.machines.get(machine.target);
      if (machine.target && there?.state === "incoming") {
        this.#world.set(id, {
          state: "postmigrate",
          migration: { ...IDLE, phase: "completed", downtimeMs: 10 },
        });
        this.#world.set(machine.target, { state: "paused", target: ARRIVED });
      } else
        this.#world.set(id, {
          migration: { ...IDLE, phase: "failed", error: "pretended: the target is gone" },
        });
    }
    await this.#world.pause();
    return this.#need(id).migration;
  }

  cancel(id: MachineId): void {
    const machine = this.#need(id);
    if (["active", "pre-switchover"].includes(machine.migration.phase)) {
      const there = machine.target && this.#world.machines.get(machine.target);
      this.#world.set(id, { migration: { ...IDLE, phase: "cancelled" } });
      if (machine.target && there?.state === "incoming")
        this.#world.set(machine.target, {
          state: "ended",
          end: { reason: "MigrationFailed", message: "called off" },
        });
    }
  }
}

/** Whether the memory of one fits the other: everything at the same place. */
const hardwareOf = ({ disks, nics, ports, cpus, memory, more }: MachineConfig) =>
  JSON.stringify([
    ports,
    [cpus, memory, more?.cpus, more?.maxCpus, more?.modules, more?.maxMemory],
    disks.map(({ name, port }) => [name, port]),
    nics.map(({ mac, port }) => [mac, port]),
  ]);

/** Has the form of a real address; the machine is in it: the digits of its uid as an IPv6 address. */
export const addressOf = (id: MachineId) =>
  `tcp:[${id.replaceAll("-", "").match(/.{4}/g)?.join(":") ?? ""}]:1`;

function machineAt(address: string): MachineId {
  const digits = address.replace(/^tcp:\[|\]:1$|:/g, "").replaceAll(":", "");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5") as MachineId;
}
