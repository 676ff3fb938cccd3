/** The machines of this host, found from their records and /proc. Nothing is kept in mind: an agent that was killed finds the same. */
import { userOf } from "../../qemu/process.ts";
import type { ProcessIdentity } from "../../system/process.ts";
import { HypervisorError, type MachineId } from "../hypervisor.ts";
import { leftOf, processOf } from "./own-process.ts";
import { MachineFolder, type MachineRecord, TornRecordError } from "./qemu-record.ts";

export interface Found {
  folder: MachineFolder;
  record: MachineRecord;
  /** Absent when it runs no more. */
  process: ProcessIdentity | undefined;
}

export class Records {
  readonly #runDirectory: string;
  readonly #isStarting: (id: MachineId) => boolean;

  /** @param isStarting a machine that may have no process yet */
  constructor(runDirectory: string, isStarting: (id: MachineId) => boolean) {
    this.#runDirectory = runDirectory;
    this.#isStarting = isStarting;
  }

  folders(): MachineFolder[] {
    return MachineFolder.all(this.#runDirectory);
  }

  folderOf(id: MachineId): MachineFolder {
    return MachineFolder.of(this.#runDirectory, id);
  }

  /** @throws HypervisorError as `look` */
  find(id: MachineId): Found | undefined {
    const found = this.look(this.folderOf(id));
    if (found && found.record.config.id !== id)
      throw new HypervisorError(`machines ${id} and ${found.record.config.id} begin with the same 12 digits`);
    return found;
  }

  /** @throws HypervisorError when there is none */
  need(id: MachineId): Found {
    const found = this.find(id);
    if (!found) throw new HypervisorError(`no machine ${id} runs on this host`);
    return found;
  }

  /** @throws HypervisorError when it does not run */
  alive(id: MachineId): Found & { process: ProcessIdentity } {
    const { process, ...found } = this.need(id);
    if (!process) throw new HypervisorError(`${found.record.config.name} runs no more`);
    return { ...found, process };
  }

  /** Whom QEMUs here run as, ran as a moment ago, or are about to; also those whose records are gone or cannot be read. */
  users(): number[] {
    return this.folders().flatMap((folder) => {
      try {
        const record = folder.read();
        if (record) return [record.config.user.uid];
      } catch {
        // Its process tells, too.
      }
      const left = leftOf(folder, () => this.folders());
      return (left && userOf(left.pid)) ?? [];
    });
  }

  /** Records of machines that run, or are being started, but for one. */
  running(but: MachineId): MachineRecord[] {
    return this.folders().flatMap((folder) => {
      try {
        const record = folder.read();
        if (!record || record.config.id === but) return [];
        const runs = record.process ? processOf(folder, record) : this.#isStarting(record.config.id);
        return runs ? [record] : [];
      } catch {
        return []; // who lists them tells of it
      }
    });
  }

  /**
   * Undefined also for a record whose process was never spawned: nothing ran, a start begins anew; and for one that a power cut has left in pieces: nothing runs any more.
   * @throws HypervisorError when it cannot be known whether one runs, or one runs whose record is gone
   */
  look(folder: MachineFolder): Found | undefined {
    let record: MachineRecord | undefined;
    let gone = "gone";
    try {
      record = folder.read();
    } catch (cause) {
      gone = "not whole";
      if (!(cause instanceof TornRecordError))
        throw new HypervisorError("the record of the machine on its host cannot be read", { cause });
    }
    if (!record) {
      const left = leftOf(folder, () => this.folders());
      if (left)
        throw new HypervisorError(`its record is ${gone}, but its process ${left.pid} runs; end that first`);
      return undefined;
    }
    const process = processOf(folder, record);
    if (!record.process) {
      if (!process) return undefined;
      record.process = process;
      folder.write(record);
    }
    // An agent died between `cont` and writing down that it runs: the journal knows.
    if (record.how === "incoming" && folder.journal().events.some(({ event }) => event === "RESUME")) {
      record.how = "run";
      folder.write(record);
    }
    return { folder, record, process };
  }
}
