/** The QMP connections to this host's machines: one each, made when it is needed, made again after it broke. */
import { setTimeout as delay } from "node:timers/promises";
import { releaseHeld } from "../../qemu/layer-merge.ts";
import { easeDowntimeLimit, switchOverAtOnce } from "../../qemu/migration.ts";
import { Qmp, type QmpEvent } from "../../qemu/qmp.ts";
import { isSame, type ProcessIdentity, waitForExit } from "../../system/process.ts";
import { isSure } from "../disks/layer-merging.ts";
import type { MachineId } from "../hypervisor.ts";
import type { MachineRecord } from "./qemu-record.ts";

/** From spawn to a monitor that answers: QEMU needs well below a second, a busy machine some more. */
const START_MS = 20_000;
const CONNECT_MS = 3000;
/** From QEMU closing its monitor to the end of its process: it writes out what is in its caches. */
const EXIT_MS = 60_000;
/** A pool that does not answer holds up this machine, and not the others for long. */
const READ_MS = 3000;

/** Events after which somebody should look. Not RESET and the like, which a guest can send by the thousand. */
const TELLING: readonly string[] = [
  "SHUTDOWN",
  "STOP",
  "RESUME",
  "MIGRATION",
  "GUEST_PANICKED",
  "WATCHDOG",
  "DUMP_COMPLETED",
  "BLOCK_IO_ERROR",
  "VSERPORT_CHANGE", // the guest agent is there, or gone
];

type Sent = Pick<MachineRecord, "maxDowntimeMs" | "switchesOver">;

export class Monitors {
  readonly #open = new Map<MachineId, Promise<Qmp>>();
  readonly #nudge: (id: MachineId) => void;
  readonly #sending: (id: MachineId) => Sent;

  /** `nudge` is called after events, and once a process is gone. `sending`: how a machine is sent. */
  constructor(nudge: (id: MachineId) => void, sending: (id: MachineId) => Sent) {
    this.#nudge = nudge;
    this.#sending = sending;
  }

  /** @throws QmpError */
  connect(id: MachineId, path: string, process: ProcessIdentity): Promise<Qmp> {
    const kept = this.#open.get(id);
    if (kept) return kept;
    const made = Qmp.connect(path, CONNECT_MS).then(async (qmp) => {
      qmp.onEvent((event: QmpEvent) => {
        if (TELLING.includes(event.event)) this.#nudge(id);
      });
      easeDowntimeLimit(qmp, () => this.#sending(id).maxDowntimeMs);
      switchOverAtOnce(qmp, process.pid, () => this.#sending(id).switchesOver ?? false);
      qmp.onClose(() => {
        this.#forget(id, made);
        void waitForExit(process, EXIT_MS).then(() => this.#nudge(id));
      });
      // Before anybody else asks anything of it. What fails here is done by the task that merges, when it is tried again.
      const known = (into: string) => Promise.race([isSure(into), delay(READ_MS, undefined, { ref: false })]);
      await releaseHeld(qmp, known).catch(() => undefined);
      return qmp;
    });
    this.#open.set(id, made);
    made.catch(() => this.#forget(id, made));
    return made;
  }

  /** The first connection to a new process, as soon as it listens. @throws QmpError once it has ended, or after 20 s */
  async await(id: MachineId, path: string, process: ProcessIdentity): Promise<Qmp> {
    const deadline = performance.now() + START_MS;
    for (;;) {
      try {
        return await this.connect(id, path, process);
      } catch (error) {
        if (!isSame(process) || performance.now() > deadline) throw error;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  drop(id: MachineId): void {
    const open = this.#open.get(id);
    this.#open.delete(id);
    void open?.then(
      (qmp) => qmp.close(),
      () => undefined,
    );
  }

  close(): void {
    for (const id of [...this.#open.keys()]) this.drop(id);
  }

  #forget(id: MachineId, connection: Promise<Qmp>): void {
    if (this.#open.get(id) === connection) this.#open.delete(id);
  }
}
