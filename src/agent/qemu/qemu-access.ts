/** How the parts of the hypervisor reach a machine: its record, its monitor, and what of its host is lent to it for a while. */
import { type Qmp, QmpError } from "../../qemu/qmp.ts";
import { type Broke, brokeLast, takeDisks } from "../../qemu/standing.ts";
import type { Tls } from "../../qemu/tls.ts";
import { hostUser, MIGRATIONS } from "../../resource/host-name.ts";
import { HypervisorError, type MachineId, NoAnswerError } from "../hypervisor.ts";
import type { Monitors } from "./qemu-monitors.ts";
import type { Found, Records } from "./qemu-records.ts";

/** Who may send a machine to this host: what enrolment writes into a host's certificate for migrations, as GnuTLS prints it. */
const certificateOf = (sender: string) => `CN=${hostUser(sender)},O=${MIGRATIONS}`;

export class Access {
  readonly records: Records;
  readonly #monitors: Monitors;
  readonly #tls: Tls | undefined;

  /** @param tls of migrations; they are not encrypted when absent */
  constructor(records: Records, monitors: Monitors, tls: Tls | undefined) {
    this.records = records;
    this.#monitors = monitors;
    this.#tls = tls;
  }

  /** @throws HypervisorError when it does not run; QmpError */
  async monitor(id: MachineId): Promise<Qmp> {
    const { folder, process } = this.records.alive(id);
    const qmp = await this.#monitors.connect(id, folder.files.qmp, process);
    folder.secure(); // not earlier: QEMU may still be making its other sockets
    return qmp;
  }

  /** @throws HypervisorError */
  async with<T>(id: MachineId, work: (qmp: Qmp) => Promise<T>): Promise<T> {
    try {
      return await work(await this.monitor(id));
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      const { folder, record } = this.records.need(id);
      const silent = ["Disconnected", "Timeout"].includes(error.errorClass);
      if (silent)
        throw new NoAnswerError(`${record.config.name}: its QEMU does not answer`, { cause: error });
      const said = error.message.replaceAll(`${folder.path}/`, "");
      throw new HypervisorError(`${record.config.name}: ${said}`, { cause: error });
    }
  }

  /** Its QEMU can read this host's credentials for as long as `work` takes. @throws HypervisorError when there are none to be read */
  async withCredentials<T>(found: Found, work: (tls: Tls | undefined) => Promise<T>): Promise<T> {
    if (!this.#tls) return work(undefined);
    try {
      const { sender } = found.record.config;
      return await work({
        ...this.#tls,
        directory: lendCredentials(found, this.#tls),
        ...(sender === undefined ? {} : { peers: certificateOf(sender) }),
      });
    } finally {
      found.folder.takeBackCredentials();
    }
  }

  /** Has the disks of a guest that stands still open again after they had been let go of. */
  async takeDisks({ folder, record }: Found, qmp: Qmp): Promise<void> {
    const socket = folder.lendSocket(record.config.user, "listener");
    await takeDisks(qmp, socket).finally(() => folder.takeSocketBack());
  }

  /**
   * A guest that broke down just before it had stopped for the switchover stays here as one that did: with its disks, and it does not run on.
   * @param status its run state @returns why; undefined when it did not
   */
  async keepBroken(found: Found, qmp: Qmp, status: string): Promise<Broke | undefined> {
    const { folder, record } = found;
    const stands = await this.standsBroken(record.config.id, qmp, status);
    if (stands) return stands;
    const broke = status === "postmigrate" ? brokeLast(folder.journal()) : undefined;
    if (!broke) return undefined;
    // Before its disks: else an agent that dies in between would take it for one that stands still for no reason, and let it go on.
    folder.update((now) => ({ ...now, broke }));
    await this.takeDisks(found, qmp);
    folder.update((now) => ({ ...now, held: undefined }));
    return broke;
  }

  /**
   * A guest that has been kept so stands still, also where an agent died between takeDisks' `cont` and `stop`, or before it had written down that nothing holds it
   * any more. @param status its run state, as it is now @returns why; undefined when it is none of those
   */
  async standsBroken(id: MachineId, qmp: Qmp, status: string): Promise<Broke | undefined> {
    // Read after its state: one that is reset is none any more before it goes on.
    const { folder, record } = this.records.need(id);
    const { broke, held } = record;
    if (!broke || (status !== "running" && status !== "paused")) return undefined;
    if (status === "running") await qmp.execute("stop");
    if (held === "migration") folder.update((now) => ({ ...now, held: undefined }));
    return broke;
  }
}

/** @returns the folder @throws HypervisorError when there are none to be read; part of them may be lent then */
function lendCredentials({ folder, record }: Found, { directory }: Tls): string {
  try {
    return folder.lendCredentials(directory, record.config.user);
  } catch (cause) {
    throw new HypervisorError(
      "this host has no certificate for migrations that can be read; its agent asks the control plane for one by itself, and its log says what keeps it from that",
      { cause },
    );
  }
}
