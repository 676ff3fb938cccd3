/** A hypervisor that only pretends, in memory, for seeded crash tests: one host of a PretendWorld (pretend-world.ts). */
import { writeFileSync } from "node:fs";
import { inOrder } from "../../compute/changes/kinds.ts";
import type { Copying } from "../../qemu/copying.ts";
import { macKey } from "../../qemu/devices.ts";
import type { Fixed } from "../../qemu/fixed.ts";
import type { GuestExit, GuestProgram } from "../../qemu/guest-exec.ts";
import type { Adjusted, Present } from "../../qemu/hotplug.ts";
import {
  type Adjustable,
  type DiskProgress,
  type DumpState,
  type HowToSave,
  type Hypervisor,
  HypervisorError,
  type LayerSwitch,
  type MachineConfig,
  type MachineEnd,
  type MachineId,
  type MachineState,
  type MachineUsage,
  type MigrationProgress,
  type SavedMemory,
} from "../hypervisor.ts";
import type { Trace } from "../traces.ts";
import { absorbed, chainOf, contentOf } from "./pretend-layers.ts";
import { addressOf, PretendSending } from "./pretend-sending.ts";
import { ARRIVED, IDLE, type Machine, type PretendWorld } from "./pretend-world.ts";

export class PretendHypervisor implements Hypervisor {
  readonly #world: PretendWorld;
  readonly #host: string;
  readonly #sending: PretendSending;

  constructor(world: PretendWorld, host: string) {
    this.#world = world;
    this.#host = host;
    this.#sending = new PretendSending(world, (id) => this.#need(id));
  }

  #find(id: MachineId): Machine | undefined {
    const machine = this.#world.machines.get(id);
    return machine?.host === this.#host ? machine : undefined;
  }

  #need(id: MachineId): Machine {
    const machine = this.#find(id);
    if (!machine || machine.state === "ended")
      throw new HypervisorError(`no machine ${id} runs on this host`);
    return machine;
  }

  async list(): Promise<MachineState[]> {
    return this.#world.on(this.#host).map(([id, m]) => stateOf(id, m));
  }

  async get(id: MachineId): Promise<MachineState | undefined> {
    const machine = this.#find(id);
    if (this.#world.saving.has(id)) this.#world.whileSaving.looks++;
    return machine && stateOf(id, machine);
  }

  async start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState> {
    await this.#world.pause();
    const there = this.#find(config.id);
    if (!there)
      this.#world.add(config.id, {
        host: this.#host,
        config,
        pid: this.#world.nextPid,
        state: how === "incoming" ? how : config.paused ? "paused" : "running",
        bootedAt: Date.now(),
        ...(how === "run" && config.uuid ? { identity: config.uuid } : {}),
        ...(config.paused ? { paused: true, pausedBy: "user" } : {}),
        resets: [],
        migration: IDLE,
      });
    await this.#world.pause();
    return stateOf(config.id, this.#need(config.id));
  }

  async listen(id: MachineId): Promise<string> {
    this.#need(id);
    return addressOf(id);
  }

  async listenForDisks(id: MachineId): Promise<string> {
    return this.listen(id);
  }

  async copyDisks(id: MachineId, { address }: { address: string }): Promise<void> {
    this.#sending.copyDisks(id, address);
  }

  async diskCopies(id: MachineId): Promise<DiskProgress> {
    return this.#sending.diskCopies(id);
  }

  finishDiskCopies(id: MachineId): Promise<void> {
    return this.#sending.finishDiskCopies(id);
  }

  async slowWrites(id: MachineId): Promise<void> {
    this.#need(id).slowed = true;
  }

  async dropCredentials(): Promise<void> {}

  async leftCopies(id: MachineId): Promise<string[]> {
    return this.#need(id).copies ? ["the copies of its disks"] : [];
  }

  async abandonDiskCopies(id: MachineId): Promise<void> {
    this.#sending.abandonDiskCopies(id);
  }

  async resume(id: MachineId): Promise<void> {
    const machine = this.#need(id);
    if (machine.state === "running") return;
    this.#world.fault("resume", "before");
    if (machine.state === "incoming") throw new HypervisorError("its memory has not all arrived yet");
    if (machine.stale)
      this.#world.violations.push(`${machine.config.name}@${this.#host} runs with old memory`);
    const there =
      machine.state === "postmigrate" && machine.target && this.#world.machines.get(machine.target);
    if (there) there.stale = true;
    this.#world.set(id, {
      ...(machine.paused ? { state: "paused", pausedBy: "user" } : { state: "running" }),
      target: undefined as never,
      migration: { ...IDLE, phase: machine.state === "postmigrate" ? "cancelled" : "none" },
    });
  }

  async setPaused(id: MachineId, paused: boolean): Promise<void> {
    const machine = this.#need(id);
    machine.paused = paused;
    await this.#world.pause();
    this.#need(id);
    if (paused && machine.state === "running") this.#world.set(id, { state: "paused", pausedBy: "user" });
    if (!paused && machine.state === "paused" && machine.pausedBy === "user" && machine.target !== ARRIVED)
      this.#world.set(id, { state: "running" });
  }

  async setOnPanic(): Promise<void> {}

  async reset(id: MachineId, request: string): Promise<void> {
    const machine = this.#need(id);
    await this.#world.pause();
    this.#need(id);
    if (!machine.resets.includes(request)) {
      machine.resets.push(request);
      this.#world.trace.push(`${machine.config.name} reset ${request}`);
      this.#world.set(id, { memory: undefined as never, bootedAt: Date.now() });
    }
    await this.#world.pause();
    if (!machine.paused && machine.state === "paused") this.#world.set(id, { state: "running" });
  }

  async suspend(id: MachineId, file: string): Promise<SavedMemory> {
    const { memory, identity, config } = this.#need(id);
    if (this.#world.full) throw new HypervisorError("pretended: no room");
    this.#world.set(id, { state: "postmigrate", pausedBy: "suspend" });
    await this.#world.pause();
    await this.#world.copying?.done;
    this.#need(id);
    this.#world.memories.set(file, {
      memory,
      ...(identity ? { identity } : {}),
      content: contentOf(this.#world.contents, config.disks[0]?.path ?? ""),
    });
    writeFileSync(file, "pretended");
    await this.#world.pause();
    this.#need(id);
    return { pauseMs: 1, live: false, sizeBytes: 9 };
  }

  async dumpMemory(_id: MachineId, file: string): Promise<DumpState> {
    await this.#world.pause();
    writeFileSync(file, "pretended");
    return { state: "done", sizeBytes: 9 };
  }

  async migrate(id: MachineId, address: string): Promise<void> {
    this.#sending.migrate(id, address);
  }

  /** Pretended memory is small: it is always too late for that. */
  async startPostCopy(): Promise<void> {}

  async migration(id: MachineId): Promise<MigrationProgress> {
    return this.#need(id).migration;
  }

  switchover(id: MachineId): Promise<MigrationProgress> {
    return this.#sending.switchover(id);
  }

  async cancelMigration(id: MachineId): Promise<void> {
    this.#sending.cancel(id);
  }

  /** A guest that shuts down at once. */
  async powerDown(id: MachineId): Promise<boolean> {
    await this.#world.pause();
    if (this.#find(id)?.state !== "running") return false;
    const { config, slowed, copies } = this.#need(id);
    this.#world.trace.push(`${config.name} power button`);
    if (slowed || copies)
      this.#world.violations.push(`${config.name} is to shut down while its disks go away`);
    if (!this.#world.deaf) await this.#end(id);
    return true;
  }

  async stop(id: MachineId): Promise<void> {
    await this.#world.pause();
    await this.#end(id);
  }

  async kill(id: MachineId, end?: MachineEnd): Promise<void> {
    this.#world.fault("kill", "before");
    await this.#end(id, end);
  }

  async #end(
    id: MachineId,
    end: MachineEnd = { reason: "Requested", message: "stopped on request" },
  ): Promise<void> {
    const machine = this.#find(id);
    if (!machine || machine.state === "ended") return;
    this.#world.set(id, { state: "ended", end });
    await this.#world.pause();
  }

  async forget(id: MachineId): Promise<void> {
    if (this.#find(id)?.state === "ended") this.#world.forget(id);
  }

  async confine(): Promise<void> {}

  async traces(): Promise<Trace[]> {
    return (await this.list())
      .filter(({ state }) => state === "ended")
      .map(({ id }) => ({
        what: `run folder ${id}`,
        isNeeded: ({ instances, oddInstances }) =>
          oddInstances.has(id) || instances.some(({ metadata }) => metadata.uid === id),
        remove: () => this.forget(id),
      }));
  }

  async guestAgent(id: MachineId, command: string): Promise<unknown | undefined> {
    const machine = this.#find(id);
    const { frozen, saving, whileSaving } = this.#world;
    if (saving.has(id)) whileSaving.asked.push(command);
    if (frozen && command.startsWith("guest-fsfreeze-")) {
      if (command === "guest-fsfreeze-status") return frozen.has(id) ? "frozen" : "thawed";
      if (command === "guest-fsfreeze-freeze") frozen.add(id);
      else frozen.delete(id);
      return 1;
    }
    return machine?.state === "running" && Date.now() - machine.bootedAt > this.#world.options.stepMs
      ? {}
      : undefined;
  }

  async activeLayers(id: MachineId): Promise<string[]> {
    this.#world.fault("activeLayers", "before");
    return this.#need(id).config.disks.map(({ path }) => path);
  }

  async present(id: MachineId): Promise<Present & Fixed> {
    return presentIn(this.#need(id).config);
  }

  async adjust(id: MachineId, { disks, nics, cpus, memory }: Adjustable): Promise<Adjusted & Fixed> {
    await this.#world.pause();
    const { config } = this.#need(id);
    const came = config.more && memory - config.memory - sum(config.more.modules);
    const more = config.more && {
      ...config.more,
      cpus,
      modules: came ? [...config.more.modules, came] : config.more.modules,
    };
    // As in QEMU, one that is there stays as it is: its layers may have been switched since the caller looked.
    const there = disks.map((disk) => {
      const same = config.disks.find(({ name }) => name === disk.name);
      return same ? { ...disk, path: same.path } : disk;
    });
    // Each stays where it is, whatever the order in which they are asked for.
    const now = {
      ...config,
      disks: inOrder(there, config.disks.map(diskName), diskName),
      nics: inOrder(nics, config.nics.map(nicName), nicName),
      ...(more ? { more } : {}),
    };
    this.#world.set(id, { config: now });
    await this.#world.pause();
    return { ...presentIn(now), refused: [] };
  }

  async switchLayers(id: MachineId, switches: readonly LayerSwitch[]): Promise<number> {
    await this.#world.pause();
    const { config } = this.#need(id);
    this.#world.fault("switchLayers", "before");
    const disks = config.disks.map((disk) => {
      const to = switches.find(({ from }) => from === disk.path)?.to;
      return to ? { ...disk, path: to } : disk;
    });
    for (const { from, to } of switches)
      if (!disks.some(({ path }) => path === to)) throw new HypervisorError(`it does not write to ${from}`);
    this.#world.set(id, { config: { ...config, disks } });
    this.#world.fault("switchLayers", "after");
    await this.#world.pause();
    return 1;
  }

  async absorbLayer(id: MachineId, into: string, from: string): Promise<boolean> {
    const machine = this.#find(id);
    if (!machine || machine.state === "ended") return false;
    this.#world.fault("absorbLayer", "before");
    if (!machine.config.disks.some(({ path }) => chainOf(path).includes(into))) return false;
    await this.#world.pause();
    this.#need(id);
    const { contents, unflushed } = this.#world;
    if (chainOf(into)[1] === from) unflushed.set(id, absorbed(contents, into, from));
    this.#world.fault("absorbLayer", "after");
    await this.#world.pause();
    this.#need(id);
    unflushed.delete(id);
    return true;
  }

  async copying(): Promise<Copying | undefined> {
    return this.#world.copying?.now;
  }

  async saveMemory(
    id: MachineId,
    switches: readonly LayerSwitch[],
    file: string,
    { apart = false }: HowToSave = {},
  ): Promise<SavedMemory> {
    if (apart) this.#world.saving.add(id);
    try {
      return await this.#save(id, switches, file);
    } finally {
      this.#world.saving.delete(id);
    }
  }

  async #save(id: MachineId, switches: readonly LayerSwitch[], file: string): Promise<SavedMemory> {
    await this.switchLayers(id, switches);
    const { memory, identity } = this.#need(id);
    const content = contentOf(this.#world.contents, switches[0]?.from ?? "");
    await this.#world.pause();
    await this.#world.copying?.done;
    this.#need(id);
    this.#world.memories.set(file, {
      content,
      ...(memory === undefined ? {} : { memory }),
      ...(identity ? { identity } : {}),
    });
    writeFileSync(file, "pretended");
    return { pauseMs: 1, live: true, sizeBytes: 9 };
  }

  /** A guest that says its arguments; "fail" is refused. */
  async guestExec(id: MachineId, { command, input }: GuestProgram): Promise<GuestExit> {
    // Of a guest that goes on as another's: its new identity (identity.ts).
    if (this.#find(id)?.disconnected) {
      await this.#world.pause();
      const { config } = this.#need(id);
      if (this.#world.refusals > 0) {
        this.#world.refusals--;
        return { exitCode: 2, stdout: "", stderr: "RTNETLINK answers: File exists", truncated: false };
      }
      this.#world.set(id, config.uuid ? { identity: config.uuid } : {});
      return { exitCode: 0, stdout: "", stderr: "", truncated: false };
    }
    if (command[0] === "fail") throw new HypervisorError("the guest agent refused it: no such file");
    this.#world.executed.push(command.join(" "));
    return { exitCode: 0, stdout: [...command, input ?? ""].join(" "), stderr: "", truncated: false };
  }

  async guestTell(): Promise<void> {
    throw new HypervisorError("the guest agent refused it: No such file or directory");
  }

  async disconnect(id: MachineId): Promise<void> {
    await this.#world.pause();
    this.#need(id);
    this.#world.set(id, { disconnected: true });
    await this.#world.pause();
  }

  async connect(id: MachineId): Promise<void> {
    await this.#world.pause();
    this.#need(id);
    this.#world.set(id, { disconnected: false });
    await this.#world.pause();
  }

  async guestMacs(): Promise<string[]> {
    return [];
  }

  async setGuestPassword(_id: MachineId, user: string, password: string): Promise<void> {
    if (user === "nobody") throw new HypervisorError("the guest agent refused it: no such user");
    this.#world.executed.push(`password of ${user}: ${password}`);
  }

  async share(): Promise<undefined> {}

  async usage(_id: MachineId): Promise<MachineUsage | undefined> {
    return undefined;
  }

  async startDirtyRate(): Promise<boolean> {
    return false;
  }

  async dirtyRate(): Promise<undefined> {}

  async abandonMemory(id: MachineId): Promise<void> {
    const machine = this.#need(id);
    await this.#world.pause();
    if (machine.pausedBy !== "suspend" || machine.state !== "postmigrate") return;
    this.#world.set(
      id,
      machine.paused
        ? { state: "paused", pausedBy: "user" }
        : { state: "running", pausedBy: undefined as never },
    );
  }

  async loadMemory(id: MachineId, file: string): Promise<void> {
    await this.#world.pause();
    const machine = this.#need(id);
    if (machine.state !== "incoming") return;
    const saved = this.#world.memories.get(file);
    if (!saved) throw new HypervisorError(`${file} is no memory`);
    if (contentOf(this.#world.contents, machine.config.disks[0]?.path ?? "") !== saved.content)
      this.#world.violations.push(`${machine.config.name} has the memory of another instant than its disk`);
    this.#world.set(id, {
      state: "paused",
      target: ARRIVED,
      ...(saved.memory === undefined ? {} : { memory: saved.memory }),
      ...(saved.identity ? { identity: saved.identity } : {}),
    });
  }

  onChange(callback: (id: MachineId) => void): () => void {
    return this.#world.subscribe(this.#host, callback);
  }
}

const sum = (sizes: readonly number[]) => sizes.reduce((all, size) => all + size, 0);
const diskName = ({ name = "" }: { name?: string }) => name;
const nicName = ({ mac }: { mac: string }) => macKey(mac);
function presentIn({ disks, nics, cpus, more }: MachineConfig): Present & Fixed {
  const data = disks.filter(({ name }) => name !== undefined);
  const isFixed = ({ port }: { port?: number }) => port === undefined;
  return {
    disks: data.map(diskName),
    nics: nics.filter((nic) => !isFixed(nic)).map(nicName),
    fixed: { disks: data.filter(isFixed).map(diskName), nics: nics.filter(isFixed).map(nicName) },
    cpus: more?.cpus ?? cpus,
    modules: [...(more?.modules ?? [])],
  };
}

function stateOf(id: MachineId, machine: Machine): MachineState {
  const { pid, state, end, pausedBy, paused, brokeDownMs } = machine;
  const why = (state === "paused" || pausedBy === "suspend") && pausedBy ? { pausedBy } : {};
  return {
    id,
    pid,
    state,
    machineType: "pretend-1.0",
    ...why,
    ...(machine.disconnected ? { disconnected: true } : {}),
    ...(paused ? { paused } : {}),
    ...(brokeDownMs === undefined ? {} : { brokeDownMs }),
    ...(end ? { end } : {}),
  };
}
