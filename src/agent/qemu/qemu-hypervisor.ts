/**
 * The real Hypervisor: QEMU processes of this host, driven over QMP. It keeps no state of its own that matters: what runs
 * is found from the records and /proc, how it is from QMP, how it ended from the journal. So an agent can be killed at any point.
 *
 * For whoever changes this: whoever says `cont` has to have custody of the disks, else it could make a second writer: qemu-processes.ts (a machine of our own),
 * qemu-standing.ts (resumed, unpaused, reset), qemu-sending.ts (one that was not sent after all), qemu/memory.ts (one whose memory is kept, under the claim on
 * its disks), and qemu/standing.ts, for all of these. One that is to be paused (record.paused) gets it only where QEMU takes its disks back by nothing else, and
 * `stop` right after it (takeDisks).
 */
import { mkdirSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Resources } from "../../compute/resources/kinds.ts";
import { type Copying, copying } from "../../qemu/copying.ts";
import { readDirtyRate, startDirtyRate } from "../../qemu/dirty-rate.ts";
import { type Fixed, fixedDevices } from "../../qemu/fixed.ts";
import { askGuestAgent } from "../../qemu/guest-agent.ts";
import {
  GuestExecError,
  type GuestExit,
  type GuestProgram,
  guestExec,
  setGuestPassword,
} from "../../qemu/guest-exec.ts";
import { guestTell } from "../../qemu/guest-tell.ts";
import { type Adjusted, type Present, present } from "../../qemu/hotplug.ts";
import { type MergeSteps, mergeLayer } from "../../qemu/layer-merge.ts";
import { guestMacs, setLinks } from "../../qemu/links.ts";
import { listenIncoming, runState } from "../../qemu/migration.ts";
import { exportDisks } from "../../qemu/mirror.ts";
import { argumentsOf } from "../../qemu/process.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import { activeLayers, switchLayers } from "../../qemu/snapshot.ts";
import { dumpMemory } from "../../qemu/standing.ts";
import { dropCredentials, type Tls } from "../../qemu/tls.ts";
import { readUsage } from "../../qemu/usage.ts";
import type { Logger } from "../../reconcile/log.ts";
import { flush } from "../../system/durable.ts";
import { waitForExit } from "../../system/process.ts";
import { MachineConsoles } from "../consoles/machine-consoles.ts";
import { exportsOf } from "../disks/disk-copies.ts";
import type { Down } from "../disks/layer-merging.ts";
import { cheaperWay } from "../disks/merge-room.ts";
import type { MachineUsage } from "../hypervisor.ts";
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
  type PanicAction,
  type SavedMemory,
  type SendOptions,
} from "../hypervisor.ts";
import type { Outward } from "../network/outward.ts";
import type { Trace } from "../traces.ts";
import { machineState } from "./machine-state.ts";
import { Access } from "./qemu-access.ts";
import { changeMachine } from "./qemu-changes.ts";
import { machineTraces } from "./qemu-leftovers.ts";
import { MemoryKeeper } from "./qemu-memory.ts";
import { Monitors } from "./qemu-monitors.ts";
import { Processes } from "./qemu-processes.ts";
import { MachineFolder } from "./qemu-record.ts";
import { type Found, Records } from "./qemu-records.ts";
import { Sending } from "./qemu-sending.ts";
import { Standing } from "./qemu-standing.ts";
import { pressPower, stopOrderly } from "./qemu-stop.ts";
import { readTap } from "./usage.ts";

export interface QemuHypervisorOptions {
  /** One folder a machine is made in here; its path may have at most 85 bytes (sockets). */
  runDirectory: string;
  /** qemu-system-x86_64 when absent. */
  binary?: string;
  /** Credentials for migrations between hosts; without them migrations are not encrypted. Only we need to be able to read them. */
  tls?: Tls;
  /** Bytes per second a migration may use; unlimited when absent. */
  migrationBandwidth?: number;
  /** Keeps QEMUs from what is reached over IP; needs root. Without it they reach what their host does. */
  outward?: Outward;
  log: Logger;
}

const STATUS_MS = 2000;
/** What a QEMU that was taken over writes until then fills no disk. */
const TRIM_MS = 1000;

export class QemuHypervisor implements Hypervisor {
  readonly #options: QemuHypervisorOptions;
  readonly #records: Records;
  readonly #monitors: Monitors;
  readonly #at: Access;
  readonly #processes: Processes;
  readonly #standing: Standing;
  readonly #sending: Sending;
  readonly #memory: MemoryKeeper;
  /** Serial ports and screens of the machines that run. */
  readonly consoles: MachineConsoles;
  readonly #listeners = new Set<(id: MachineId) => void>();
  readonly #trimming: NodeJS.Timeout;

  /** @throws Error when the folder's path is too long */
  constructor(options: QemuHypervisorOptions) {
    // QEMU runs in another folder than we.
    this.#options = { ...options, runDirectory: resolve(options.runDirectory) };
    const { runDirectory, binary, tls, migrationBandwidth, outward, log } = this.#options;
    const nudge = (id: MachineId) => this.#nudge(id);
    this.#records = new Records(runDirectory, (id) => this.#processes.starting().includes(id));
    this.#monitors = new Monitors(nudge, (id) => this.#records.find(id)?.record ?? {});
    this.#at = new Access(this.#records, this.#monitors, tls);
    this.consoles = new MachineConsoles({
      machine: (id) => this.#records.alive(id),
      monitor: (id, work) => this.#at.with(id, work),
      log,
    });
    this.#processes = new Processes(binary, {
      at: this.#at,
      monitors: this.#monitors,
      consoles: this.consoles,
      state: (found) => this.#state(found),
      nudge,
      outward,
      log,
    });
    this.#standing = new Standing(this.#at, log);
    this.#sending = new Sending(this.#at, migrationBandwidth, outward);
    this.#memory = new MemoryKeeper(this.#at, log);
    MachineFolder.checkRunDirectory(runDirectory);
    mkdirSync(runDirectory, { recursive: true, mode: 0o755 });
    this.#trimming = setInterval(() => {
      try {
        for (const folder of this.#records.folders()) folder.trimLogs();
      } catch (error) {
        // As one that finds no descriptor free.
        log.warn("machine.logs", { error });
      }
    }, TRIM_MS).unref();
  }

  async list(): Promise<MachineState[]> {
    const states = this.#records.folders().map(async (folder) => {
      try {
        const found = this.#records.look(folder);
        if (found?.process) await this.consoles.find(found.record.config.id, folder);
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
    return this.#processes.start(config, how);
  }

  async listen(id: MachineId, bindAddress: string, postCopy = false): Promise<string> {
    const found = this.#records.need(id);
    if (postCopy) found.folder.update((now) => ({ ...now, postCopy }));
    return this.#at.with(id, (qmp) =>
      this.#at.withCredentials(found, (tls) => listenIncoming(qmp, bindAddress, tls, postCopy)),
    );
  }

  async listenForDisks(id: MachineId, bindAddress: string, besides: readonly DiskConfig[]): Promise<string> {
    const found = this.#records.alive(id);
    const { folder, record, process } = found;
    folder.update((now) => ({ ...now, exports: true }));
    return this.#at.with(id, (qmp) =>
      this.#at.withCredentials(found, (tls) =>
        exportDisks(qmp, process.pid, bindAddress, exportsOf(record.config, besides), tls),
      ),
    );
  }

  resume(id: MachineId): Promise<void> {
    return this.#standing.resume(id);
  }

  setPaused(id: MachineId, paused: boolean): Promise<void> {
    return this.#standing.setPaused(id, paused);
  }

  setOnPanic(id: MachineId, action: PanicAction): Promise<void> {
    return this.#standing.setOnPanic(id, action);
  }

  reset(id: MachineId, request: string): Promise<void> {
    return this.#standing.reset(id, request);
  }

  migrate(id: MachineId, address: string, how: SendOptions = {}): Promise<void> {
    return this.#sending.migrate(id, address, how);
  }

  copyDisks(id: MachineId, to: DiskTarget): Promise<void> {
    return this.#sending.copyDisks(id, to);
  }

  diskCopies(id: MachineId): Promise<DiskProgress> {
    return this.#sending.diskCopies(id);
  }

  finishDiskCopies(id: MachineId): Promise<void> {
    return this.#sending.finishDiskCopies(id);
  }

  slowWrites(id: MachineId, bytesPerSecond: number): Promise<void> {
    return this.#sending.slowWrites(id, bytesPerSecond);
  }

  leftCopies(id: MachineId): Promise<string[]> {
    return this.#sending.leftCopies(id);
  }

  abandonDiskCopies(id: MachineId): Promise<void> {
    return this.#sending.abandonDiskCopies(id);
  }

  dropCredentials(id: MachineId): Promise<void> {
    return this.#at.with(id, dropCredentials);
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
    await this.#memory.letRun(id).catch(() => undefined);
    folder.update((now) => ({ ...now, stopRequested: true }));
    return this.#at.with(id, pressPower).catch((error: unknown) => {
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
    if (!(await stopOrderly(process, () => this.#at.monitor(id)))) await this.kill(id);
    await this.#processes.gone(id, folder);
  }

  async kill(id: MachineId, end?: MachineEnd): Promise<void> {
    const found = this.#records.find(id);
    if (found) await this.#processes.kill(found, end);
  }

  async forget(id: MachineId): Promise<void> {
    const found = this.#records.find(id);
    if (found?.process) throw new HypervisorError(`${found.record.config.name} still runs`);
    this.consoles.drop(id);
    await this.#processes.forget(id, this.#records.folderOf(id));
  }

  confine(): Promise<void> {
    return this.#processes.confine();
  }

  async traces(): Promise<Trace[]> {
    const isStarting = (name: string) =>
      this.#processes.starting().some((id) => this.#records.folderOf(id).name === name);
    return machineTraces(this.#options.runDirectory, isStarting, (folder) =>
      this.#processes.removeLeft(folder),
    );
  }

  async guestAgent(id: MachineId, command: string, timeoutMs: number): Promise<unknown | undefined> {
    const found = this.#records.find(id);
    return found?.process ? askGuestAgent(found.folder.files.guestAgent, command, timeoutMs) : undefined;
  }

  share(id: MachineId, resources: Resources): Promise<string | undefined> {
    return this.#processes.share(id, resources);
  }

  async usage(id: MachineId): Promise<MachineUsage | undefined> {
    const { process, record } = this.#records.need(id);
    if (!process) return undefined;
    const taps = record.config.nics.flatMap(({ backend }) => ("tap" in backend ? [backend.tap] : []));
    const usage = await this.#at.with(id, (qmp) => readUsage(process.pid, qmp));
    return { ...usage, nics: taps.map((tap) => readTap(tap)) };
  }

  startDirtyRate(id: MachineId): Promise<boolean> {
    return this.#at.with(id, startDirtyRate);
  }

  dirtyRate(id: MachineId): Promise<number | undefined> {
    return this.#at.with(id, readDirtyRate);
  }

  guestExec(id: MachineId, program: GuestProgram): Promise<GuestExit> {
    return this.#withGuest(id, (socket) => guestExec(socket, program));
  }

  guestTell(id: MachineId, path: string, text: string): Promise<void> {
    return this.#withGuest(id, (socket) => guestTell(socket, path, text));
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

  async present(id: MachineId): Promise<Present & Fixed> {
    const { process } = this.#records.alive(id);
    return { ...(await this.#at.with(id, present)), ...fixedDevices(argumentsOf(process.pid)) };
  }

  async adjust(id: MachineId, wanted: Adjustable): Promise<Adjusted & Fixed> {
    const found = this.#records.alive(id);
    const adjusted = await changeMachine(found, wanted, (work) => this.#at.with(id, work));
    return { ...adjusted, ...fixedDevices(argumentsOf(found.process.pid)) };
  }

  activeLayers(id: MachineId): Promise<string[]> {
    return this.#at.with(id, activeLayers);
  }

  switchLayers(id: MachineId, switches: readonly LayerSwitch[]): Promise<number> {
    return this.#at.with(id, (qmp) => switchLayers(qmp, switches));
  }

  absorbLayer(id: MachineId, into: string, from: string, down?: Down): Promise<boolean> {
    const steps: MergeSteps = {
      way: async ({ isWritten, mayGoDown }) => {
        await down?.unsure();
        return cheaperWay(into, from, { isWritten, mayGoDown: mayGoDown && down !== undefined });
      },
      flush,
      sure: async () => down?.sure(),
      unsure: async () => down?.unsure(),
    };
    return this.#at.with(id, async (qmp) => (await mergeLayer(qmp, into, from, steps)) !== undefined);
  }

  copying(id: MachineId): Promise<Copying | undefined> {
    return this.#at.with(id, copying);
  }

  saveMemory(
    id: MachineId,
    switches: readonly LayerSwitch[],
    file: string,
    how?: HowToSave,
  ): Promise<SavedMemory> {
    return this.#memory.save(id, switches, file, how);
  }

  suspend(id: MachineId, file: string, how?: HowToSave): Promise<SavedMemory> {
    return this.#memory.suspend(id, file, how);
  }

  abandonMemory(id: MachineId): Promise<void> {
    return this.#memory.abandon(id);
  }

  async dumpMemory(id: MachineId, file: string): Promise<DumpState> {
    const { folder, record } = this.#records.need(id);
    const begun = record.dump === file;
    if (!begun) folder.update((now) => ({ ...now, dump: file }));
    const { state } = await this.#at.with(id, (qmp) => dumpMemory(qmp, file, begun));
    return state === "done" ? { state, sizeBytes: statSync(file).size } : { state };
  }

  async loadMemory(id: MachineId, file: string): Promise<void> {
    await this.#memory.load(id, file, this.#processes.filling(id));
    this.#processes.filled(id);
  }

  disconnect(id: MachineId): Promise<void> {
    return this.#setLinks(id, false);
  }

  connect(id: MachineId): Promise<void> {
    return this.#setLinks(id, true);
  }

  guestMacs(id: MachineId): Promise<string[]> {
    return this.#at.with(id, guestMacs);
  }

  async #setLinks(id: MachineId, up: boolean): Promise<void> {
    const { folder, record } = this.#records.need(id);
    if (!up) folder.update((now) => ({ ...now, disconnected: true }));
    await this.#at.with(id, (qmp) => setLinks(qmp, record.config.nics, up));
    if (up) folder.update((now) => ({ ...now, disconnected: undefined }));
  }

  onChange(callback: (id: MachineId) => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** Lets go of the monitors; the machines run on. Another agent can then talk to them. */
  close(): void {
    clearInterval(this.#trimming);
    this.#monitors.close();
    this.#processes.close();
    this.consoles.close();
  }

  #state(found: Found): Promise<MachineState> {
    return machineState(found, {
      runState: (id) => this.#at.with(id, (qmp) => this.#runState(id, qmp)).catch(() => undefined),
      isLost: (id) => this.#sending.isLost(id),
      exited: (id) => this.#processes.exited(id),
      oomKills: (name) => this.#processes.oomKills(name),
    });
  }

  async #runState(id: MachineId, qmp: Qmp): Promise<string> {
    const status = await runState(qmp, STATUS_MS);
    return status === "running" && (await this.#at.standsBroken(id, qmp, status)) ? "paused" : status;
  }

  #nudge(id: MachineId): void {
    for (const listener of this.#listeners) listener(id);
  }
}
