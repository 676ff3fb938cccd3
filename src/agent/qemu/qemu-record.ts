/**
 * What is on disk of a machine on this host, one folder each; a restarted agent knows everything from here.
 *
 *   RUN/<id>/            root's: what QEMU must not be able to change
 *     record.json        the MachineConfig it was started from, and its process
 *     journal, stderr    what it said, in files it has open only for appending
 *     exit.json          its exit status, when the agent that started it was still there
 *     root/, fstab       what it sees of its host (system/enclosure.ts)
 *   RUN/<id>/serial/     what its guest said on the serial port, see consoles/serial-log.ts
 *   RUN/<id>/s/          its sockets; of QEMU's own user while it makes them, then of root
 */

import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { type Journal, readJournal, readTail, trimLog } from "../../qemu/journal.ts";
import type { Exit } from "../../qemu/process.ts";
import type { Broke } from "../../qemu/standing.ts";
import { isFields } from "../../resource/fields.ts";
import { enclose, type Reach } from "../../system/enclosure.ts";
import { isMissing } from "../../system/exists.ts";
import type { ProcessIdentity } from "../../system/process.ts";

import type { MachineConfig, MachineEnd, MachineId, PanicAction } from "../hypervisor.ts";
import type { Place } from "./own-place.ts";

export interface MachineRecord {
  config: MachineConfig;
  machineType: string;
  /** "run" also for an incoming one, from its first `resume` on. */
  how: "run" | "incoming";
  /** What of its host is its own. */
  place?: Place;
  /** Its memory may be merged with that of others which have the same here. */
  merges?: string;
  /** Its memory is that of config.template, shared with others; which that is (shared-memory.ts), once it is whole. Until then it must not run. */
  shared?: "filling" | { mark: string };
  /** Absent from before the spawn until just after it. */
  process?: ProcessIdentity;
  stopRequested: boolean;
  /** How that end is told, when not as one that was asked for. */
  end?: MachineEnd;
  /** Why its guest was stopped by us for a while. Written before that is done, gone when it runs on. */
  held?: "migration" | "snapshot" | "suspend";
  /** Its guest is to stand still, whatever else is done with it. */
  paused?: boolean;
  onPanic?: PanicAction;
  /** Its guest broke down, and QEMU's run state does not say so: at the end of a move that came to nothing. */
  broke?: Broke | undefined;
  /** The reset that was asked for last, and when we began with it, ms since the epoch. */
  reset?: { request: string; atMs: number };
  /** The file that its memory was last to be dumped into. */
  dump?: string;
  /** Which start of the host it was started in. */
  bootId?: string;
  /** An incoming one, whose memory may still come after it runs. */
  postCopy?: boolean | undefined;
  /** An incoming one, whose disks are, or may be, open to its source. */
  exports?: boolean | undefined;
  /** Of the newest migration from here. */
  maxDowntimeMs?: number | undefined;
  /** Of the newest migration from here: it goes on from pre-switchover by itself. */
  switchesOver?: boolean | undefined;
  /** Its disks are written more slowly than they might be, for as long as they are sent from here. */
  slowed?: boolean | undefined;
  /** Its network cards have no link. Written before it is taken away, gone when it is back. */
  disconnected?: boolean;
}

/** A record that is no record of a machine: written whole or not at all, it is so only after a power cut, or when somebody else wrote it. */
export class TornRecordError extends Error {}

/** A unix socket's path has at most 107 bytes; ours add "/<12>/s/serial". */
const MAX_RUN_DIRECTORY = 107 - "/0123456789ab/s/serial".length;
const LOG_MAX = 4 * 2 ** 20;
const LOG_KEEP = 2 ** 20;
const STDERR_MAX = 64 * 2 ** 10;
const TLS_FILES = ["ca-cert", "server-cert", "server-key", "client-cert", "client-key"].map(
  (name) => `${name}.pem`,
);

/** What this process has lent to QEMUs just now. */
const lent = new Set<string>();

/** The folder for pictures of the screen in that of a machine. */
export const picturesIn = (runFolder: string): string => join(runFolder, "p");

export type User = MachineConfig["user"];
const isRoot = () => process.getuid?.() === 0;

export class MachineFolder {
  readonly path: string;

  /** Short, because of the sockets; 48 bits of a uid do not collide on one host, and `read` checks it. */
  static of(runDirectory: string, id: MachineId): MachineFolder {
    return new MachineFolder(join(runDirectory, id.replaceAll("-", "").slice(0, 12)));
  }

  static at(path: string): MachineFolder {
    return new MachineFolder(path);
  }

  static all(runDirectory: string): MachineFolder[] {
    if (!existsSync(runDirectory)) return [];
    return readdirSync(runDirectory).map((name) => new MachineFolder(join(runDirectory, name)));
  }

  /** @throws Error when sockets in there would have too long names */
  static checkRunDirectory(runDirectory: string): void {
    if (Buffer.byteLength(runDirectory) > MAX_RUN_DIRECTORY)
      throw new Error(
        `${runDirectory}: the path is longer than ${MAX_RUN_DIRECTORY} bytes, too long for sockets; choose a shorter state folder`,
      );
  }

  private constructor(path: string) {
    this.path = path;
  }

  /** In an argument of its QEMU, and of no other process. */
  get mark(): string {
    return `path=${this.path.replaceAll(",", ",,")}/s/`;
  }

  /** 12 digits. */
  get name(): string {
    return basename(this.path);
  }

  get files() {
    const own = (name: string) => join(this.path, "s", name);
    return {
      qmp: own("qmp"),
      guestAgent: own("qga"),
      serialSocket: own("serial"),
      serialLog: join(this.path, "serial"),
      vnc: own("vnc"),
      tpm: own("tpm"),
      tpmLog: join(this.path, "tpm.log"),
      fifo: join(this.path, "fifo"),
      journal: join(this.path, "journal"),
      stderr: join(this.path, "stderr"),
    };
  }

  create(user: User): void {
    mkdirSync(this.path, { recursive: true });
    chmodSync(this.path, 0o711);
    mkdirSync(join(this.path, "s"), { mode: 0o700 });
    if (isRoot()) chownSync(join(this.path, "s"), user.uid, user.gid);
  }

  /** @returns the command before that of a process which sees nothing but `reach`; nothing when we are not root, whose alone that is */
  enclose(reach: Reach, user: User, name?: string): string[] {
    return isRoot() ? enclose(this.path, reach, user, name) : [];
  }

  /**
   * Where the memory of a guest goes through: a folder that its QEMU reaches, for as long as that takes. Its own only when it is to listen there: else we do, and
   * what we make there must not be taken for something that it has put in its place.
   * @returns the socket's path
   */
  lendSocket(user: User, as: "listener" | "client"): string {
    lent.add(this.#socketFolder);
    if (as === "listener") this.#lend(this.#socketFolder, user);
    else this.#makeAnew(this.#socketFolder);
    return join(this.#socketFolder, "memory");
  }

  takeSocketBack(): void {
    this.#takeBack(this.#socketFolder);
    lent.delete(this.#socketFolder);
  }

  /**
   * A folder that its QEMU writes pictures of the screen to, each under a name of its own, and nothing else. In memory (Reach.scratch); on the host's disk where
   * it is not enclosed, or was started by an agent of before. Idempotent.
   */
  lendForScreenshots(user: User): string {
    const folder = picturesIn(this.path);
    return existsSync(folder) ? folder : this.#lend(folder, user);
  }

  #lend(folder: string, user: User): string {
    this.#takeBack(folder);
    mkdirSync(folder, { mode: 0o700 });
    if (isRoot()) chownSync(folder, user.uid, user.gid);
    return folder;
  }

  /** Root's, empty: what we make in it goes nowhere else. */
  #makeAnew(folder: string): void {
    this.#takeBack(folder);
    mkdirSync(folder);
    chmodSync(folder, 0o711);
  }

  /** Removes it, while nobody puts anything in. rmSync follows no link, whatever is in there becomes one meanwhile; rm does. */
  #takeBack(folder: string): void {
    if (isRoot() && existsSync(folder)) chownSync(folder, 0, 0);
    rmSync(folder, { recursive: true, force: true });
  }

  /** Once QEMU has made its sockets: from now on only root reaches them, whatever another machine's QEMU may try. Idempotent. */
  secure(): void {
    if (isRoot()) chownSync(join(this.path, "s"), 0, 0);
  }

  /**
   * Undefined only when there is none. @throws Error when there is one that cannot be read, TornRecordError when it makes no sense: whoever takes that for "no
   * machine" while its process runs gives its disks to another.
   */
  read(): MachineRecord | undefined {
    const path = join(this.path, "record.json");
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new TornRecordError(`${path}: is not whole`, { cause });
    }
    if (!isFields(value) || !isFields(value.config) || typeof value.config.id !== "string")
      throw new TornRecordError(`${path}: is not a machine's record`);
    // Written by this file alone, in a folder that only root can write.
    return value as unknown as MachineRecord;
  }

  /**
   * Not made sure of against a power cut, after which nothing is left of what it is about: an agent and a guest that is switched over would wait for as long as the
   * host's disk takes.
   */
  write(record: MachineRecord): void {
    const path = join(this.path, "record.json");
    writeFileSync(`${path}.new`, JSON.stringify(record, undefined, 2), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Changes it as it is now, for whoever has waited for something since it was read: others may have written it. No-op when it is gone. */
  update(change: (now: MachineRecord) => MachineRecord): void {
    const now = this.read();
    if (now) this.write(change(now));
  }

  writeExit(exit: Exit): void {
    if (existsSync(this.path)) writeFileSync(join(this.path, "exit.json"), JSON.stringify(exit));
  }

  readExit(): Exit | undefined {
    try {
      const value: unknown = JSON.parse(readFileSync(join(this.path, "exit.json"), "utf8"));
      if (!isFields(value)) return undefined;
      const { code, signal } = value;
      return {
        code: typeof code === "number" ? code : null,
        signal: typeof signal === "string" ? signal : null,
      };
    } catch {
      return undefined;
    }
  }

  journal(): Journal {
    return readJournal(this.files.journal);
  }

  stderr(): string {
    try {
      return readTail(this.files.stderr, STDERR_MAX).trim().split("\n").slice(-10).join("\n");
    } catch {
      return "";
    }
  }

  /** Keeps what a guest can make grow from filling the host's disk. */
  trimLogs(): void {
    const { journal, stderr } = this.files;
    // The last one is written by QEMUs that agents of before src/agent/consoles have started.
    for (const path of [journal, stderr, join(this.path, "s", "serial.log")])
      trimLog(path, LOG_MAX, LOG_KEEP);
  }

  /** Copies the host's migration credentials for this machine's QEMU, which reads them when it is told to. @returns the folder */
  lendCredentials(from: string, user: User): string {
    lent.add(this.#lent);
    this.#makeAnew(this.#lent);
    for (const name of TLS_FILES) {
      const copy = join(this.#lent, name);
      copyFileSync(join(from, name), copy);
      chmodSync(copy, 0o400);
      if (isRoot()) chownSync(copy, user.uid, user.gid);
    }
    return this.#lent;
  }

  /** What its QEMU has read it keeps until it ends; one that has read nothing finds nothing, whoever has taken it over. */
  takeBackCredentials(): void {
    this.#takeBack(this.#lent);
    lent.delete(this.#lent);
  }

  /** What another agent, which is gone, has lent and not taken back. */
  leftLent(): string[] {
    return [this.#socketFolder, this.#lent].filter((path) => existsSync(path) && !lent.has(path));
  }

  removeLeftLent(): void {
    for (const path of this.leftLent()) this.#takeBack(path);
  }

  get #lent(): string {
    return join(this.path, "tls");
  }

  get #socketFolder(): string {
    return join(this.path, "m");
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
