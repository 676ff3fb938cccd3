/**
 * What is on disk of a machine on this host, one folder each; a restarted agent knows everything from here.
 *
 *   RUN/<id>/            root's: what QEMU must not be able to change
 *     record.json        the MachineConfig it was started from, and its process
 *     journal, stderr    what it said, in files it has open only for appending
 *   RUN/<id>/s/          QEMU's own user's: its sockets and the serial log
 */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { ProcessIdentity } from "../qemu/process.ts";
import { parseEvent, type QmpEvent } from "../qemu/qmp.ts";
import type { MachineConfig, MachineId } from "./hypervisor.ts";

export interface MachineRecord {
  config: MachineConfig;
  machineType: string;
  how: "run" | "incoming";
  /** Absent from before the spawn until just after it. */
  process?: ProcessIdentity;
  stopRequested: boolean;
}

export class MachineFolder {
  readonly path: string;

  /** Short, because a unix socket's path has at most 107 bytes; 48 bits of the uid cannot collide on one host. */
  static of(runDirectory: string, id: MachineId): MachineFolder {
    return new MachineFolder(join(runDirectory, id.replaceAll("-", "").slice(0, 12)));
  }

  static all(runDirectory: string): MachineFolder[] {
    if (!existsSync(runDirectory)) return [];
    return readdirSync(runDirectory).map((name) => new MachineFolder(join(runDirectory, name)));
  }

  private constructor(path: string) {
    this.path = path;
  }

  get files() {
    const own = (name: string) => join(this.path, "s", name);
    return {
      qmp: own("qmp"),
      guestAgent: own("qga"),
      serialSocket: own("serial"),
      serialLog: own("serial.log"),
      fifo: join(this.path, "fifo"),
      journal: join(this.path, "journal"),
      stderr: join(this.path, "stderr"),
    };
  }

  create(user: { uid: number; gid: number }): void {
    mkdirSync(join(this.path, "s"), { recursive: true, mode: 0o711 });
    if (process.getuid?.() === 0) chownSync(join(this.path, "s"), user.uid, user.gid);
  }

  read(): MachineRecord | undefined {
    try {
      // Written by this file alone, in a folder that only root can write.
      return JSON.parse(readFileSync(join(this.path, "record.json"), "utf8")) as MachineRecord;
    } catch {
      return undefined;
    }
  }

  write(record: MachineRecord): void {
    const path = join(this.path, "record.json");
    writeFileSync(`${path}.new`, JSON.stringify(record, undefined, 2), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Every event since the machine was started. */
  journal(): QmpEvent[] {
    try {
      return readFileSync(this.files.journal, "utf8")
        .split("\n")
        .map(parseEvent)
        .filter((event) => event !== undefined);
    } catch {
      return [];
    }
  }

  stderr(): string {
    try {
      return readFileSync(this.files.stderr, "utf8").trim().split("\n").slice(-10).join("\n");
    } catch {
      return "";
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
