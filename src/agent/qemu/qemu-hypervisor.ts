/**
 * The real Hypervisor: QEMU processes of this host, driven over QMP. It keeps no state of its own that matters: what runs
 * is found from the records and /proc, how it is from QMP, how it ended from the journal. So an agent can be killed at any point.
 *
 * For whoever changes this: whoever says `cont` has to have custody of the disks, else it could make a second writer: `start` (a machine of our own), `resume`,
 * `setPaused` and `reset`, qemu-sending.ts (one that was not sent after all), qemu/memory.ts (one whose memory is kept, under the claim on its disks), and
 * qemu/standing.ts, for all of these. One that is to be paused (record.paused) gets it only where QEMU takes its disks back by nothing else, and `stop` right
 * after it (takeDisks).
 */
import { closeSync, mkdirSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Resources } from "../../compute/resources/kinds.ts";
import { openBelow } from "../../qemu/below.ts";
import { commandLine, defaultCpu, PANIC } from "../../qemu/command-line.ts";
import { keyOf } from "../../qemu/devices.ts";
import { endOf, readableErrors } from "../../qemu/end.ts";
import { askGuestAgent } from "../../qemu/guest-agent.ts";
import {
  GuestExecError,
  type GuestExit,
  type GuestProgram,
  guestExec,
  setGuestPassword,
} from "../../qemu/guest-exec.ts";
import { type Adjusted, type Present, present } from "../../qemu/hotplug.ts";
import { guestMacs, setLinks } from "../../qemu/links.ts";
import { abandonMemory } from "../../qemu/memory.ts";
import { listenIncoming, runState } from "../../qemu/migration.ts";
import {
  abandonMirrors,
  exportDisks,
  finishMirrors,
  queryMirrors,
  startMirrors,
  stopExports,
} from "../../qemu/mirror.ts";
import {
  type Exit,
  findByArgument,
  isSame,
  makeFifo,
  type ProcessIdentity,
  spawnQemu,
  waitForExit,
} from "../../qemu/process.ts";
import { type Qmp, QmpError } from "../../qemu/qmp.ts";
import { absorbLayer, activeLayers, switchLayers } from "../../qemu/snapshot.ts";
import {
  dumpMemory,
  goOn,
  lastOf,
  pressReset,
  standStill,
  takeDisks,
  wasFull,
  wasReset,
} from "../../qemu/standing.ts";
import type { Tls } from "../../qemu/tls.ts";
import { startTpm } from "../../qemu/tpm.ts";
import { readUsage } from "../../qemu/usage.ts";
import type { Logger } from "../../reconcile/log.ts";
import { toMiB } from "../../resource/quantity.ts";
import { bootId } from "../boot-id.ts";
import { bothOf } from "../both.ts";
import { MachineConsoles } from "../consoles/machine-consoles.ts";
import { exportsOf, mirrorsOf } from "../disks/disk-copies.ts";
import { readHeader } from "../disks/qcow2-head.ts";
import {
  type Adjustable,
  type DiskConfig,
  type DiskProgress,
  type DiskTarget,
  type DumpState,
  type HowToSave,
  type Hypervisor,
  HypervisorError,
  type LayerSwitch,
  type MachineConfig,
  type MachineEnd,
  type MachineId,
  type MachineState,
  type MigrationProgress,
  NoAnswerError,
  type PanicAction,
  type SavedMemory,
  type SendOptions,
} from "../hypervisor.ts";
import type { Trace } from "../leftovers.ts";
import { reasonOf } from "../reasons.ts";
import { HostShare } from "./host-share.ts";
import { killedForMemory } from "./oom.ts";
import { changeMachine, ramOf } from "./qemu-changes.ts";
import { endSwtpms, machineTraces } from "./qemu-leftovers.ts";
import { keepMemory, takeMemory } from "./qemu-memory.ts";
import { Monitors } from "./qemu-monitors.ts";
import { QemuPrograms } from "./qemu-programs.ts";
import { MachineFolder, type MachineRecord } from "./qemu-record.ts";
import { type Found, Records } from "./qemu-records.ts";
import { Sending } from "./qemu-sending.ts";
import { standsBecause, stateOf } from "./qemu-state.ts";
import { endProcess, pressPower, stopOrderly } from "./qemu-stop.ts";
import { reachOf } from "./reach.ts";
import { SHARED_FD, type Shared, SharedMemory } from "./shared-memory.ts";
import { type MachineUsage, readTap } from "./usage.ts";

export interface QemuHypervisorOptions {
  /** One folder a machine is made in here; its path may have at most 85 bytes (sockets). */
  runDirectory: string;
  /** qemu-system-x86_64 when absent. */
  binary?: string;
  /** Credentials for migrations between hosts; without them migrations are not encrypted. Only we need to be able to read them. */
  tls?: Tls;
  /** Bytes per second a migration may use; unlimited when absent. */
  migrationBandwidth?: number;
  log: Logger;
}

/** Who may send a machine to this host: what enrolment writes into the certificate of a host, as GnuTLS prints it. */
const certificateOf = ({ sender = "*" }: MachineConfig) => `CN=system:host:${sender},O=system:hosts`;

const STATUS_MS = 2000;

export class QemuHypervisor implements Hypervisor {
  readonly #options: QemuHypervisorOptions;
  readonly #programs: QemuPrograms;
  readonly #records: Records;
  readonly #monitors: Monitors;
  readonly #sending: Sending<Found>;
  readonly #share = new HostShare();
  /** Serial ports and screens of the machines that run. */
  readonly consoles: MachineConsoles;
  readonly #listeners = new Set<(id: MachineId) => void>();
  /** Starts under way: a second call of the same joins the first. */
  readonly #starting = new Map<MachineId, Promise<MachineState>>();
  readonly #shared: SharedMemory;
  /** The memory that they share is being made. */
  readonly #filling = new Map<MachineId, Promise<void>>();
  /** Processes of our own: they are over once their exit status is on disk. */
  readonly #exits = new Map<MachineId, Promise<void>>();

  /** @throws Error when the folder's path is too long */
  constructor(options: QemuHypervisorOptions) {
    // QEMU runs in another folder than we.
    this.#options = { ...options, runDirectory: resolve(options.runDirectory) };
    this.#programs = new QemuPrograms(options.binary);
    this.#records = new Records(this.#options.runDirectory, (id) => this.#starting.has(id));
    this.#shared = new SharedMemory(options.log);
    this.#monitors = new Monitors(
      (id) => this.#nudge(id),
      (id) => this.#records.find(id)?.record ?? {},
    );
    this.#sending = new Sending(
      {
        need: (id) => this.#records.need(id),
        with: (id, work) => this.#with(id, work),
        takeDisks: ({ folder, record }, qmp) => this.#takeDisks(folder, record, qmp),
        withCredentials: (found, work) => this.#withCredentials(found, work),
      },
      options.migrationBandwidth,
    );
    this.consoles = new MachineConsoles({
      machine: (id) => this.#records.alive(id),
      monitor: (id, work) => this.#with(id, work),
      log: options.log,
    });
    MachineFolder.checkRunDirectory(this.#options.runDirectory);
    mkdirSync(this.#options.runDirectory, { recursive: true, mode: 0o755 });
  }

  async list(): Promise<MachineState[]> {
    const states = this.#records.folders().map(async (folder) => {
      try {
        const found = this.#records.look(folder);
        if (found?.process) {
          folder.trimLogs();
          await this.consoles.find(found.record.config.id, folder);
        }
        return found && (await this.#state(found));
      } catch (error) {
        // One odd folder must not hide the others.
        this.#options.log.warn("hypervisor.unreadable", { folder: folder.path, error });
        return undefined;
      }
    });
    return (await Promise.all(states)).filter((state) => state !== undefined);
  }

  async get(id: MachineId): Promise<MachineState | undefined> {
    const found = this.#records.find(id);
    return found && this.#state(found);
  }

  start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState> {
    const under = this.#starting.get(config.id);
    if (under) return under;
    const starting = this.#start(config, how).finally(() => this.#starting.delete(config.id));
    this.#starting.set(config.id, starting);
    return starting;
  }

  async listen(id: MachineId, bindAddress: string, postCopy = false): Promise<string> {
    const found = this.#records.need(id);
    if (postCopy) found.folder.update((now) => ({ ...now, postCopy }));
    return this.#with(id, (qmp) =>
      this.#withCredentials(found, (tls) => listenIncoming(qmp, bindAddress, tls, postCopy)),
    );
  }

  async listenForDisks(id: MachineId, bindAddress: string, besides: readonly DiskConfig[]): Promise<string> {
    const found = this.#records.alive(id);
    const { folder, record, process } = found;
    folder.update((now) => ({ ...now, exports: true }));
    return this.#with(id, (qmp) =>
      this.#withCredentials(found, (tls) =>
        exportDisks(qmp, process.pid, bindAddress, exportsOf(record.config, besides), tls),
      ),
    );
  }

  async resume(id: MachineId): Promise<void> {
    const { folder, record } = this.#records.need(id);
    await this.#with(id, async (qmp) => {
      const status = await runState(qmp);
      if (status === "running") return;
      if (status === "inmigrate")
        throw new HypervisorError(`${record.config.name}: its memory has not all arrived yet`);
      if (record.exports) await stopExports(qmp);
      if (record.how === "incoming") await this.#openBelow(record, qmp);
      if (!record.paused) await qmp.execute("cont");
      else if (record.how === "incoming" || status === "postmigrate")
        await this.#takeDisks(folder, record, qmp);
      // One that has begun to be kept meanwhile stays held.
      if (record.held)
        folder.update((now) => ({ ...now, held: now.held === record.held ? undefined : now.held }));
      if (record.how !== "incoming") return;
      // Tells the switches where the machine's addresses are now; a few times, because the first may be lost. One without a link does it when it has one.
      if (!record.disconnected)
        await qmp
          .execute("announce-self", { initial: 20, max: 400, rounds: 5, step: 60 })
          .catch((error: unknown) => this.#options.log.warn("hypervisor.announce", { id, error }));
      folder.update((now) => ({ ...now, how: "run", exports: undefined }));
    });
  }

  /** Disks that came along layer by layer, whose layers are all there now. */
  async #openBelow({ config: { disks, firmware } }: MachineRecord, qmp: Qmp): Promise<void> {
    const all = [
      ...disks.map((disk, i) => ({ disk, key: keyOf(disk, i) })),
      ...(firmware ? [{ disk: firmware.variables, key: "-vars" }] : []),
    ];
    for (const { disk, key } of all) {
      const { backing: path, backingFormat: format = "qcow2" } = disk.apart
        ? await readHeader(disk.path)
        : {};
      if (path) await openBelow(qmp, disk, key, { path, format });
    }
  }

  async setPaused(id: MachineId, paused: boolean): Promise<void> {
    const { folder, record, process } = this.#records.need(id);
    if (Boolean(record.paused) !== paused) folder.update((now) => ({ ...now, paused: paused || undefined }));
    // One that waits for custody, or is being sent or kept, is as it was told once that is over.
    if (!process || record.how === "incoming" || record.held) return;
    await this.#with(id, (qmp) => (paused ? standStill(qmp) : goOn(qmp)));
  }

  async setOnPanic(id: MachineId, action: PanicAction): Promise<void> {
    const { folder, record } = this.#records.need(id);
    if ((record.onPanic ?? "end") === action) return;
    await this.#with(id, (qmp) => qmp.execute("set-action", { panic: PANIC[action] }));
    folder.update((now) => ({ ...now, onPanic: action }));
  }

  async reset(id: MachineId, request: string): Promise<void> {
    const { folder, record } = this.#records.need(id);
    const { reset = { request, atMs: Date.now() }, held, paused } = record;
    const begun = reset.request === request ? reset : { request, atMs: Date.now() };
    const isDone = record.reset === begun && wasReset(folder.journal(), begun.atMs);
    folder.update((now) => ({ ...now, reset: begun }));
    await this.#with(id, async (qmp) => {
      if (!isDone) await pressReset(qmp);
      if (!held && !paused) await goOn(qmp);
    });
  }

  migrate(id: MachineId, address: string, how: SendOptions = {}): Promise<void> {
    return this.#sending.migrate(id, address, how);
  }

  async copyDisks(id: MachineId, to: DiskTarget): Promise<void> {
    const found = this.#records.need(id);
    const { address, tlsHostname: hostname } = to;
    const mirrors = mirrorsOf(found.record.config, to.besides, to.linked);
    await this.#with(id, (qmp) =>
      this.#withCredentials(found, (tls) =>
        startMirrors(qmp, { address, mirrors, ...(tls ? { tls } : {}), ...(hostname ? { hostname } : {}) }),
      ),
    );
  }

  diskCopies(id: MachineId): Promise<DiskProgress> {
    return this.#with(id, queryMirrors);
  }

  finishDiskCopies(id: MachineId): Promise<void> {
    return this.#with(id, finishMirrors);
  }

  abandonDiskCopies(id: MachineId): Promise<void> {
    return this.#with(id, abandonMirrors);
  }

  startPostCopy(id: MachineId): Promise<void> {
    return this.#sending.startPostCopy(id);
  }

  migration(id: MachineId): Promise<MigrationProgress> {
    return this.#sending.migration(id);
  }

  switchover(id: MachineId): Promise<MigrationProgress> {
    return this.#sending.switchover(id);
  }

  cancelMigration(id: MachineId): Promise<void> {
    return this.#sending.cancel(id);
  }

  async powerDown(id: MachineId): Promise<boolean> {
    const found = this.#records.find(id);
    if (!found?.process) return false;
    const { folder } = found;
    // Its guest could not hear the power button.
    if (found.record.held === "migration") await this.cancelMigration(id).catch(() => undefined);
    if (found.record.held === "snapshot") await this.abandonMemory(id).catch(() => undefined);
    folder.update((now) => ({ ...now, stopRequested: true }));
    return this.#with(id, pressPower).catch((error: unknown) => {
      this.#options.log.warn("hypervisor.powerDown", { id, error });
      return false;
    });
  }

  async stop(id: MachineId, graceMs: number): Promise<void> {
    const found = this.#records.find(id);
    if (!found?.process) return;
    const { folder, process } = found;
    if (graceMs > 0 && (await this.powerDown(id))) await waitForExit(process, graceMs);
    folder.update((now) => ({ ...now, stopRequested: true }));
    if (!(await stopOrderly(process, () => this.#monitor(id)))) await this.kill(id);
    await this.#gone(id, folder);
  }

  async kill(id: MachineId, end?: MachineEnd): Promise<void> {
    const found = this.#records.find(id);
    if (!found?.process) return;
    found.folder.update((now) => ({ ...now, stopRequested: true, ...(end ? { end } : {}) }));
    await endProcess(found.process, found.record.config.name);
    await this.#gone(id, found.folder);
  }

  async forget(id: MachineId): Promise<void> {
    const found = this.#records.find(id);
    if (found?.process) throw new HypervisorError(`${found.record.config.name} still runs`);
    this.consoles.drop(id);
    this.#exits.delete(id);
    this.#filling.delete(id);
    const folder = this.#records.folderOf(id);
    await this.#gone(id, folder);
    folder.remove();
  }

  async traces(): Promise<Trace[]> {
    const { runDirectory } = this.#options;
    const isStarting = (name: string) =>
      [...this.#starting.keys()].some((id) => MachineFolder.of(runDirectory, id).name === name);
    return machineTraces(runDirectory, isStarting, (folder) => {
      this.#share.remove(folder.name);
      folder.remove();
    });
  }

  async guestAgent(id: MachineId, command: string, timeoutMs: number): Promise<unknown | undefined> {
    const found = this.#records.find(id);
    return found?.process ? askGuestAgent(found.folder.files.guestAgent, command, timeoutMs) : undefined;
  }

  async share(id: MachineId, resources: Resources): Promise<string | undefined> {
    const { process, folder, record } = this.#records.need(id);
    const others = this.#records.running(id);
    return (
      process &&
      this.#share.apply(folder.name, process.pid, record, resources, () => this.#monitor(id), others)
    );
  }

  async usage(id: MachineId): Promise<MachineUsage | undefined> {
    const { process, record } = this.#records.need(id);
    if (!process) return undefined;
    const taps = record.config.nics.flatMap(({ backend }) => ("tap" in backend ? [backend.tap] : []));
    const usage = await this.#with(id, (qmp) => readUsage(process.pid, qmp));
    return { ...usage, nics: taps.map((tap) => readTap(tap)) };
  }

  guestExec(id: MachineId, program: GuestProgram): Promise<GuestExit> {
    return this.#withGuest(id, (socket) => guestExec(socket, program));
  }

  setGuestPassword(id: MachineId, user: string, password: string): Promise<void> {
    return this.#withGuest(id, (socket) => setGuestPassword(socket, user, password));
  }

  /** @throws HypervisorError */
  async #withGuest<T>(id: MachineId, work: (socket: string) => Promise<T>): Promise<T> {
    const { folder, record } = this.#records.need(id);
    if (record.config.hardware?.board === "isapc")
      throw new HypervisorError("its board (isapc) has no channel to a guest agent");
    return work(folder.files.guestAgent).catch((error: unknown) => {
      throw error instanceof GuestExecError ? new HypervisorError(error.message) : error;
    });
  }

  present(id: MachineId): Promise<Present> {
    return this.#with(id, present);
  }

  adjust(id: MachineId, wanted: Adjustable): Promise<Adjusted> {
    return changeMachine(this.#records.need(id), wanted, (work) => this.#with(id, work));
  }

  activeLayers(id: MachineId): Promise<string[]> {
    return this.#with(id, activeLayers);
  }

  switchLayers(id: MachineId, switches: readonly LayerSwitch[]): Promise<number> {
    return this.#with(id, (qmp) => switchLayers(qmp, switches));
  }

  absorbLayer(id: MachineId, into: string, from: string): Promise<boolean> {
    return this.#with(id, (qmp) => absorbLayer(qmp, into, from));
  }

  async saveMemory(
    id: MachineId,
    switches: readonly LayerSwitch[],
    file: string,
    { apart = false }: HowToSave = {},
  ): Promise<SavedMemory> {
    const found = this.#records.need(id);
    const after = found.record.paused ? "stands still" : "runs";
    const how = { held: "snapshot", after, apart } as const;
    try {
      return await this.#with(id, (qmp) => keepMemory(qmp, found, switches, file, how, this.#options.log));
    } finally {
      await this.abandonMemory(id);
    }
  }

  async suspend(id: MachineId, file: string, { apart = false }: HowToSave = {}): Promise<SavedMemory> {
    const found = this.#records.need(id);
    const how = { held: "suspend", after: "stands still", apart } as const;
    try {
      return await this.#with(id, (qmp) => keepMemory(qmp, found, [], file, how, this.#options.log));
    } catch (error) {
      if (this.#records.find(id)?.process) await this.abandonMemory(id);
      throw error;
    }
  }

  async abandonMemory(id: MachineId): Promise<void> {
    const { folder, record } = this.#records.need(id);
    if (record.held !== "snapshot" && record.held !== "suspend") return;
    await this.#with(id, async (qmp) => {
      await abandonMemory(qmp, record.paused ? "stands still" : "runs");
      if (record.paused && (await runState(qmp)) === "postmigrate")
        await this.#takeDisks(folder, record, qmp);
    });
    folder.takeSocketBack();
    folder.update((now) => ({ ...now, held: undefined }));
  }

  async dumpMemory(id: MachineId, file: string): Promise<DumpState> {
    const { folder, record } = this.#records.need(id);
    const begun = record.dump === file;
    if (!begun) folder.update((now) => ({ ...now, dump: file }));
    const { state } = await this.#with(id, (qmp) => dumpMemory(qmp, file, begun));
    return state === "done" ? { state, sizeBytes: statSync(file).size } : { state };
  }

  async #takeDisks(folder: MachineFolder, { config }: MachineRecord, qmp: Qmp): Promise<void> {
    await takeDisks(qmp, folder.lendSocket(config.user)).finally(() => folder.takeSocketBack());
  }

  async loadMemory(id: MachineId, file: string): Promise<void> {
    const found = this.#records.need(id);
    await this.#with(id, (qmp) => takeMemory(qmp, found, file, this.#filling.get(id)));
    this.#filling.delete(id);
  }

  disconnect(id: MachineId): Promise<void> {
    return this.#setLinks(id, false);
  }

  connect(id: MachineId): Promise<void> {
    return this.#setLinks(id, true);
  }

  guestMacs(id: MachineId): Promise<string[]> {
    return this.#with(id, guestMacs);
  }

  async #setLinks(id: MachineId, up: boolean): Promise<void> {
    const { folder, record } = this.#records.need(id);
    if (!up) folder.update((now) => ({ ...now, disconnected: true }));
    await this.#with(id, (qmp) => setLinks(qmp, record.config.nics, up));
    if (up) folder.update((now) => ({ ...now, disconnected: undefined }));
  }

  onChange(callback: (id: MachineId) => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** Lets go of the monitors; the machines run on. Another agent can then talk to them. */
  close(): void {
    this.#monitors.close();
    this.#shared.close();
    this.consoles.close();
  }

  // --- inside ---

  async #start(config: MachineConfig, how: "run" | "incoming"): Promise<MachineState> {
    let there = this.#records.find(config.id);
    // An agent died while it made the memory that it shares, and it has part of that.
    if (there?.process && there.record.shared === "filling" && !this.#filling.has(config.id)) {
      await this.kill(config.id);
      there = undefined;
    }
    if (there) {
      // An agent died between the spawn and `cont`. Not for an incoming machine: that one waits for custody.
      if (there.process && how === "run" && there.record.how === "run" && !there.record.paused)
        await this.#with(config.id, async (qmp) => {
          if ((await runState(qmp)) === "prelaunch") await qmp.execute("cont");
        });
      return this.#state(there);
    }
    const machineType = config.machineType ?? (await this.#programs.machineType(config));
    const folder = this.#records.folderOf(config.id);
    endSwtpms(folder);
    folder.remove();
    folder.create(config.user);
    const shared = await this.#shareTemplate(config);
    return this.#spawn(config, how, folder, machineType, shared).finally(() => {
      if (shared) closeSync(shared.fd);
    });
  }

  async #spawn(
    config: MachineConfig,
    how: "run" | "incoming",
    folder: MachineFolder,
    machineType: string,
    shared: Shared | undefined,
  ): Promise<MachineState> {
    const { hardware, accelerator } = config;
    const guestCpu = config.guestCpu ?? defaultCpu(accelerator, hardware);
    const binary = this.#programs.of(config);
    // From here to the write of the record nothing else is done: no other start chooses the same.
    const others = this.#records.running(config.id);
    const place = this.#share.place(config, others);
    const merges = mergesWith(config, others);
    const record: MachineRecord = {
      config: { ...config, guestCpu },
      ...(place ? { place } : {}),
      ...(merges ? { merges } : {}),
      ...(shared ? { shared: "filling" } : {}),
      machineType,
      how,
      stopRequested: false,
      bootId: bootId(),
      ...(config.paused ? { paused: true } : {}),
      ...(config.onPanic ? { onPanic: config.onPanic } : {}),
    };
    // The record first: an agent that dies just after the spawn finds the process by the folder in its arguments.
    folder.write(record);
    let endTpm = () => {};
    try {
      if (config.tpm) {
        const { tpm: socket, tpmLog: log } = folder.files;
        const reach = { writable: [folder.path, config.tpm], readable: [], devices: [] };
        endTpm = await startTpm(
          { stateFolder: config.tpm, socket, log },
          folder.enclose(reach, config.user, "tpm"),
        );
      }
      const { tpm: _, ...rest } = config;
      const args = commandLine(
        {
          ...rest,
          ...(config.tpm ? { tpm: folder.files.tpm } : {}),
          uuid: config.uuid ?? config.id,
          memoryMiB: toMiB(config.memory),
          ram: { ...ramOf(record), ...(shared ? { fd: SHARED_FD } : {}) },
          machineType,
        },
        folder.files,
        how,
      );
      const [reach] = await bothOf(reachOf(config, folder.path), makeFifo(folder.files.fifo));
      const before = folder.enclose(reach, config.user);
      const begun = (process: ProcessIdentity) => {
        folder.write({ ...record, process });
        this.#share.begin(folder.name, process.pid, config);
      };
      const command = [...before, binary, ...args];
      const fds = shared ? [shared.fd] : [];
      const { identity, exit } = await spawnQemu(command, folder.files, begun, fds);
      this.#awaitExit(config.id, folder, exit);
      const qmp = await this.#monitors.await(config.id, folder.files.qmp, identity);
      folder.secure();
      await this.#share.settle(identity.pid, record, async () => qmp, this.#records.running(config.id));
      await this.consoles.begin(config.id, folder, qmp);
      if (how === "run" && !config.paused) await qmp.execute("cont");
      const state = how === "incoming" ? "incoming" : config.paused ? "paused" : "running";
      const as = config.paused ? { paused: true, ...(how === "run" ? { pausedBy: "user" } : {}) } : {};
      const own = place ? { place } : {};
      return { id: config.id, pid: identity.pid, state, machineType, guestCpu, accelerator, ...as, ...own };
    } catch (cause) {
      endTpm();
      // Killed first, and waited for, so that its last words are all there and its sockets are free.
      const process = findByArgument(folder.mark);
      // One that cannot be killed keeps its record, and its disks.
      if (process) await endProcess(process, config.name);
      const said = readableErrors(folder.stderr()).join("; ");
      this.#monitors.drop(config.id);
      this.#exits.delete(config.id);
      this.#filling.delete(config.id);
      folder.remove();
      throw new HypervisorError(`QEMU did not start ${config.name}: ${said || whyNot(cause)}`, { cause });
    }
  }

  async #shareTemplate(config: MachineConfig): Promise<Shared | undefined> {
    const { id, template, memory, resources } = config;
    // What is its own from the start is taken before the rest is there.
    if (!template || resources?.hugepages || resources?.singleNumaNode) return undefined;
    const holders = this.#records
      .running(id)
      .flatMap(({ config, shared, process }) =>
        config.template === template && shared === "whole" && process ? [process.pid] : [],
      );
    const made = await this.#shared.of(template, memory, holders);
    if (made) this.#filling.set(id, made.whole);
    return made;
  }

  /** Its process is: what it had of the host is others'. */
  async #gone(id: MachineId, folder: MachineFolder): Promise<void> {
    this.#share.remove(folder.name);
    this.#monitors.drop(id);
    await this.#share.rebalance(this.#records.running(id));
  }

  #awaitExit(id: MachineId, folder: MachineFolder, exit: Promise<Exit>): void {
    const written = exit.then((how) => {
      if (this.#exits.get(id) === written) {
        folder.writeExit(how);
        this.#exits.delete(id);
      }
      this.#nudge(id);
    });
    this.#exits.set(id, written);
  }

  async #state({ folder, record, process }: Found): Promise<MachineState> {
    const { config, machineType } = record;
    const { id } = config;
    const { accelerator } = config;
    const was = {
      machineType,
      accelerator,
      ...(config.guestCpu ? { guestCpu: config.guestCpu } : {}),
      ...(record.place ? { place: record.place } : {}),
    };
    if (process) {
      const status = await this.#with(id, (qmp) => runState(qmp, STATUS_MS)).catch(() => undefined);
      if (record.postCopy && status === "running" && (await this.#sending.isLost(id)))
        return { id, pid: process.pid, state: "paused", ...was, pausedBy: "lost" };
      const state = stateOf(status, record.how);
      const by = standsBecause(status, record, () => wasFull(folder.journal()));
      const pausedBy = (state === "paused" || record.held === "suspend") && by ? { pausedBy: by } : {};
      const links = record.disconnected ? { disconnected: true } : {};
      const paused = record.paused ? { paused: true } : {};
      // The journal is read of those alone that it may say something of.
      const mayTell =
        config.hardware?.watchdog === "Reset" || status === "guest-panicked" || status === "watchdog";
      const event = status === "guest-panicked" ? "GUEST_PANICKED" : "WATCHDOG";
      const brokeDownMs = mayTell ? lastOf(folder.journal(), event) : undefined;
      const told = brokeDownMs === undefined ? {} : { brokeDownMs };
      if (isSame(process))
        return { id, pid: process.pid, state, ...was, ...pausedBy, ...paused, ...told, ...links };
    }
    await this.#exits.get(id);
    // Read again: a stop may have been asked for while we waited.
    const { stopRequested, held, end: told } = folder.read() ?? record;
    const exit = folder.readExit();
    const outOfMemory = () =>
      record.process && killedForMemory(record.process, this.#share.oomKills(folder.name));
    const isTold = stopRequested && told;
    const end =
      isTold ||
      endOf({
        journal: folder.journal(),
        stderr: folder.stderr(),
        ...(exit ? { exit } : {}),
        stopRequested,
        incoming: record.how === "incoming",
        rebooted: record.bootId !== undefined && record.bootId !== bootId(),
        outOfMemory,
      });
    const kept = held === "suspend" ? { pausedBy: held } : {};
    return { id, pid: record.process?.pid ?? 0, state: "ended", ...was, ...kept, end };
  }

  async #monitor(id: MachineId): Promise<Qmp> {
    const { folder, process } = this.#records.alive(id);
    const qmp = await this.#monitors.connect(id, folder.files.qmp, process);
    folder.secure(); // not earlier: QEMU may still be making its other sockets
    return qmp;
  }

  /** @throws HypervisorError */
  async #with<T>(id: MachineId, work: (qmp: Qmp) => Promise<T>): Promise<T> {
    try {
      return await work(await this.#monitor(id));
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      const { folder, record } = this.#records.need(id);
      const silent = ["Disconnected", "Timeout"].includes(error.errorClass);
      if (silent)
        throw new NoAnswerError(`${record.config.name}: its QEMU does not answer`, { cause: error });
      const said = error.message.replaceAll(`${folder.path}/`, "");
      throw new HypervisorError(`${record.config.name}: ${said}`, { cause: error });
    }
  }

  async #withCredentials<T>(
    { folder, record }: Found,
    work: (tls: Tls | undefined) => Promise<T>,
  ): Promise<T> {
    const { tls } = this.#options;
    if (!tls) return work(undefined);
    let directory: string;
    try {
      directory = folder.lendCredentials(tls.directory, record.config.user);
    } catch (cause) {
      throw new HypervisorError("this host's credentials for migrations cannot be read; enrol it again", {
        cause,
      });
    }
    try {
      return await work({ peers: certificateOf(record.config), ...tls, directory });
    } finally {
      folder.takeBackCredentials();
    }
  }

  #nudge(id: MachineId): void {
    for (const listener of this.#listeners) listener(id);
  }
}

/** The kernel merges whatever may be merged: while it may merge those of one project, no other may. Huge pages are not merged. */
const mergesWith = ({ mergeWith, resources }: MachineConfig, others: readonly MachineRecord[]) =>
  !resources?.hugepages && others.every(({ merges = mergeWith }) => merges === mergeWith)
    ? mergeWith
    : undefined;

/** A start that failed before QEMU could say why: what the programs around it said is for users, other errors are ours. */
function whyNot(cause: unknown): string {
  if (cause instanceof QmpError) return "it does not answer; is this host overloaded?";
  const isMissing = cause instanceof Error && "syscall" in cause && /^spawn .* ENOENT/.test(cause.message);
  return isMissing ? `${cause.syscall}: No such file; is QEMU installed on this host?` : reasonOf(cause);
}
