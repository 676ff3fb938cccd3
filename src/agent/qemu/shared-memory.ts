/**
 * The memory of templates that machines of this host go on with: each is here once, and each clone's QEMU maps it privately, so a clone begins at once,
 * whatever its memory, and takes of the host what it writes itself.
 *
 *   FILE.ram ──► memfd, sealed: nobody can write to it any more ──► descriptor 3 of each clone's QEMU, mapped MAP_PRIVATE
 *
 * Sealed, because QEMU (7.2) opens what it maps for writing, and punches holes into it when its guest gives memory back (balloon, free page reporting): in
 * a file those would be zeros in the memory of all others. That was tried. So such a guest gives nothing back to its host until its next start or move.
 * The kernel has no other way to take the right to write away from who has opened it; only a program that can call it makes such a file, and of those that
 * every Debian has this is perl (perl-base). Where it is missing, each clone has a copy of its own.
 *
 * It is here for as long as a clone has it, and for a while after the last one began.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { createInterface } from "node:readline";
import { spawnEnvironment } from "../../qemu/process.ts";
import type { Logger } from "../../reconcile/log.ts";
import { copyRam, ramOf } from "./memory-files.ts";

/** The descriptor that QEMUs have it as. */
export const SHARED_FD = 3;

const NAME = "vireo-template";
const IDLE_MS = 60_000;
const ANSWER_MS = 5000;

/** memfd_create with MFD_CLOEXEC and MFD_ALLOW_SEALING; then, told so, F_ADD_SEALS with F_SEAL_SEAL, _SHRINK, _GROW and _WRITE. x86-64. */
const PROGRAM = `
my ($name, $size) = @ARGV;
my $fd = syscall(319, $name, 3);
$fd >= 0 or die "memfd_create: $!\\n";
open(my $file, "+<&=", $fd) or die "$!\\n";
truncate($file, $size) or die "truncate: $!\\n";
$| = 1;
print "$fd\\n";
defined(<STDIN>) or exit 1;
fcntl($file, 1033, 15) or die "seal: $!\\n";
print "sealed\\n";
`;

export interface Shared {
  fd: number;
  /** Until then it must not be read. @returns its mark @throws Error when it cannot be had */
  whole: Promise<string>;
}

/** A QEMU that has it. */
interface Holder {
  pid: number;
  /** Of what it was given. One that was taken over may have something else there by now, for all the others to go on with. */
  mark: string;
}

/** Of which file it is, and that nothing of it has changed: the kernel sets that time, and nobody puts it back. */
export function markOf(fd: number): string {
  const { ino, ctimeNs } = fstatSync(fd, { bigint: true });
  return `${ino} ${ctimeNs}`;
}

export class SharedMemory {
  readonly #log: Logger;
  readonly #held = new Map<string, { shared: Promise<Shared | undefined>; timer: NodeJS.Timeout }>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * @param file of a memory that is kept apart (memory-files.ts)
   * @returns with a descriptor of the caller's own, whose it is to close; undefined when it cannot be shared
   */
  async of(file: string, sizeBytes: number, holders: readonly Holder[]): Promise<Shared | undefined> {
    const shared = await this.#ours(file, sizeBytes, holders);
    return shared && { ...shared, fd: openSync(`/proc/self/fd/${shared.fd}`, "r+") };
  }

  #ours(file: string, sizeBytes: number, holders: readonly Holder[]): Promise<Shared | undefined> {
    const known = this.#held.get(file);
    known?.timer.refresh();
    if (known) return known.shared;
    const shared = this.#make(file, sizeBytes, holders).catch((error: unknown) => {
      this.#log.warn("memory.share", { file, error });
      return undefined;
    });
    const timer = setTimeout(() => void this.drop(file), IDLE_MS).unref();
    this.#held.set(file, { shared, timer });
    // What could not be made is tried again the next time.
    void shared.then(async (made) => made?.whole.catch(() => this.drop(file)) ?? this.drop(file));
    return shared;
  }

  /** Those who have it keep it. */
  async drop(file: string): Promise<void> {
    const held = this.#held.get(file);
    if (!held) return;
    this.#held.delete(file);
    clearTimeout(held.timer);
    const shared = await held.shared;
    if (!shared) return;
    await shared.whole.catch(() => undefined);
    closeSync(shared.fd);
  }

  close(): void {
    for (const file of [...this.#held.keys()]) void this.drop(file);
  }

  async #make(file: string, sizeBytes: number, holders: readonly Holder[]): Promise<Shared | undefined> {
    for (const { pid, mark } of holders) {
      try {
        const fd = openSync(`/proc/${pid}/fd/${SHARED_FD}`, constants.O_RDWR | constants.O_NONBLOCK);
        if (markOf(fd) === mark) return { fd, whole: Promise.resolve(mark) };
        closeSync(fd);
      } catch {
        // it ended just now
      }
    }
    const ram = await ramOf(file);
    if (!ram || statSync(ram).size !== sizeBytes) return undefined;
    const perl = spawn("perl", ["-e", PROGRAM, NAME, String(sizeBytes)], {
      stdio: ["pipe", "pipe", "ignore"],
      env: spawnEnvironment(),
    });
    const said = answers(perl);
    try {
      const path = `/proc/${perl.pid}/fd/${Number(await said())}`;
      const fd = openSync(path, "r+");
      const whole = (async () => {
        try {
          await copyRam(file, path);
          perl.stdin.write("\n");
          if ((await said()) !== "sealed") throw new Error("it could not be sealed");
          return markOf(fd);
        } finally {
          perl.kill();
        }
      })();
      whole.catch((error: unknown) => this.#log.warn("memory.share", { file, error }));
      return { fd, whole };
    } catch (error) {
      perl.kill();
      throw error;
    }
  }
}

/** Its lines, one after the other. @throws Error when it ends, or says nothing in time */
function answers(child: ChildProcess): () => Promise<string> {
  const ended = new Promise<never>((_, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`perl ended with code ${code}`)));
  });
  ended.catch(() => undefined);
  child.stdin?.on("error", () => undefined);
  const lines = child.stdout && createInterface(child.stdout)[Symbol.asyncIterator]();
  return async () => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("perl does not answer")), ANSWER_MS);
    });
    try {
      return String((await Promise.race([lines?.next(), ended, late]))?.value ?? "");
    } finally {
      clearTimeout(timer);
    }
  };
}
