/**
 * Whole copies of disks, which take as long as a disk is large: begun once, looked after by whoever asks again. Nothing of one that was cut short is
 * ever used: it is made under another name. A copy that a killed agent left behind writes to a file that has no name any more.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { open, rm } from "node:fs/promises";
import { linkDurably } from "../../system/durable.ts";
import { writeBase } from "./bases.ts";
import { changeDisk, enclosedImg } from "./enclosed-img.ts";
import { own } from "./volume-files.ts";

interface Source {
  path: string;
  format: "qcow2" | "raw";
}

interface User {
  uid: number;
  gid: number;
}

interface Copy {
  child: ChildProcess;
  percent: number;
  said: string;
  /** Once it is over: why it failed, or undefined. */
  ended?: { error: string | undefined };
}

/** Not an error: what is asked for is being made, and is to be asked for again. The text is for users. */
export class StillPreparing extends Error {}

export class Copies {
  readonly #copies = new Map<string, Copy>();

  /**
   * Copies what the disk `from` holds, with all below it, to the new qcow2 file `to`, as `user`, whose it is.
   * @throws StillPreparing until it is there; ForeignDiskError; Error with what qemu-img said
   */
  async ensure(from: Source, to: string, user: User): Promise<void> {
    const copy = this.#copies.get(to) ?? (await this.#begin(from, to, user));
    if (!copy.ended) throw new StillPreparing(`its disk is being copied: ${Math.floor(copy.percent)} %`);
    this.#copies.delete(to);
    if (copy.ended.error !== undefined) throw new Error(`qemu-img: ${copy.ended.error}`);
  }

  /** Ends those to files below `folder`, and takes away what they have made. */
  async cancel(folder: string): Promise<void> {
    for (const [path, { child }] of this.#copies) {
      if (!path.startsWith(`${folder}/`)) continue;
      this.#copies.delete(path);
      child.kill("SIGKILL");
      await rm(path, { force: true });
    }
  }

  /** @returns it as soon as it is under way */
  async #begin(from: Source, to: string, { uid, gid }: User): Promise<Copy> {
    await rm(to, { force: true });
    await (await open(to, "wx", 0o600)).close();
    await own(to, uid, gid, 0o600);
    const begun = Promise.withResolvers<Copy>();
    const follow = (command: readonly string[]) =>
      new Promise<void>((resolve) => {
        const copy = started(command, from, to, resolve);
        this.#copies.set(to, copy);
        begun.resolve(copy);
      });
    void enclosedImg({ disk: from, writes: [], made: to }, follow).catch(begun.reject);
    return begun.promise;
  }
}

/** @param closed called at its end */
function started(
  [program = "", ...before]: readonly string[],
  from: Source,
  to: string,
  closed: () => void,
): Copy {
  // -t: all of it is written out at the end; without, qemu-img leaves that to the kernel. -U: the source may be open in the QEMUs of other clones; nothing ever writes to it. -W: in any order, which is faster.
  const how = ["-p", "-t", "writeback", "-U", "-W", "-f", from.format, "-O", "qcow2"];
  const args = [...before, "convert", ...how, from.path, to];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const copy: Copy = { child, percent: 0, said: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const [, percent] = /\(\s*([\d.]+)\/100%\)[^(]*$/.exec(text) ?? [];
    if (percent) copy.percent = Number(percent);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    copy.said = (copy.said + text).slice(-1000);
  });
  child.on("error", (error) => {
    copy.ended = { error: error.message };
    closed();
  });
  child.on("close", (code, signal) => {
    copy.ended ??= { error: code === 0 ? undefined : copy.said.trim() || `ended with ${signal ?? code}` };
    closed();
  });
  return copy;
}

/** As makeDisk, but a copy of `from` with all below it. @throws StillPreparing until it is there; Error */
export async function copyDisk(
  copies: Copies,
  from: Source,
  path: string,
  sizeBytes: number | undefined,
  user: User,
): Promise<void> {
  const made = `${path}.new`;
  await copies.ensure(from, made, user);
  if (sizeBytes !== undefined)
    await changeDisk(made, ["resize", "-q", "-f", "qcow2", made, String(sizeBytes)]);
  await writeBase(path, undefined);
  // What it was copied from may go as soon as it has its name.
  await linkDurably(made, path);
}
