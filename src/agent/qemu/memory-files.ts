/**
 * Files of guests' memory, which QEMU sends and takes through unix sockets: it may open no files of ours, and can be given none. FILE has it all, or the
 * state of the devices alone; then the memory itself is in FILE.ram, copied by us from and to the memory of QEMU (a memfd), or shared by several
 * (shared-memory.ts).
 *
 *   FILE.ram.BOOT  until it is on disk: what it holds is sure only as long as the host runs (BOOT is its boot id)
 *   FILE.ram       from then on
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
} from "node:fs";
import { chmod, chown, open, rename, rm, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { connectAt } from "../../qemu/unix-socket.ts";
import { bootId } from "../../system/boot-id.ts";
import { exists } from "../../system/exists.ts";
import { run } from "../../system/run.ts";

/**
 * Writes what comes, and takes it to its end also where it cannot be written, and when the agent has died: a QEMU (7.2) that cannot send the memory of a guest which
 * runs on leaves it write-protected, and the guest stands still at its next write, for ever, with QEMU itself once that is told to stop it.
 */
const TAKE =
  "dd bs=1M iflag=fullblock conv=fsync status=none; code=$?; [ $code = 0 ] || cat > /dev/null; exit $code";

/**
 * Listens at `path`, in a folder that nobody else may write, for one connection, and writes what comes to `file`: whole or not at all. Only `user` can
 * connect.
 */
export async function receiveFile(
  path: string,
  file: string,
  user: { uid: number; gid: number },
): Promise<{ done: () => Promise<number>; isFull: () => boolean; close: () => void }> {
  const part = `${file}.part`;
  await rm(part, { force: true });
  const handle = await open(part, "wx", 0o600);
  let written: Promise<void> = Promise.reject(new Error("nothing was sent"));
  written.catch(() => undefined);
  let said = "";
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    server.close();
    const child = spawn("sh", ["-c", TAKE], {
      stdio: [socket, handle.fd, "pipe"],
      detached: true,
      env: { ...process.env, LC_ALL: "C" },
    });
    // It alone has the connection from now on.
    socket.destroy();
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    written = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`${part}: ${said.trim()}`))));
    });
    written.catch(() => undefined);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
  if (process.getuid?.() === 0) await chown(path, user.uid, user.gid);
  return {
    /** Once all has been sent. @returns bytes */
    async done() {
      await written;
      await rename(part, file);
      return (await stat(file)).size;
    },
    /** Whether it ended because there was no room. */
    isFull: () => said.includes(NO_SPACE),
    close() {
      server.close();
      void handle.close().catch(() => undefined);
      void rm(part, { force: true });
    },
  };
}

/** What programs say where a file system is full. */
export const NO_SPACE = "No space left on device";

/** Sends the file to whoever listens at `path`. */
export async function sendFile(file: string, path: string): Promise<void> {
  const socket = connectAt(path);
  // One that ends without reading all of it says so when all has been written, and nobody listens any more.
  socket.on("error", () => undefined);
  await pipeline(createReadStream(file, { highWaterMark: 2 ** 20 }), socket);
}

/** A copy of as much as a machine may have, to a slow disk. */
const COPY_MS = 3_600_000;
const SYNC_WAIT_MS = 30_000;

const MEMORY = "/memfd:memory-backend-memfd";

/** Of a guest, opened by us. */
export interface Memory {
  path: string;
  close: () => void;
}

/**
 * The memory of a guest as a file of its QEMU; undefined when it cannot be reached, is none, or is more than one (memory that was plugged in). What was opened is looked
 * at: a QEMU that was taken over may have another file under that number by then, which only we may read or write.
 */
export function openMemory(pid: number, sizeBytes: number): Memory | undefined {
  let fd: number | undefined;
  try {
    const folder = `/proc/${pid}/fd`;
    const [path, ...more] = readdirSync(folder)
      .map((each) => join(folder, each))
      .filter((each) => readlinkSync(each).startsWith(MEMORY));
    if (!path || more.length > 0) return undefined;
    const opened = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    fd = opened;
    const own = `/proc/${process.pid}/fd/${opened}`;
    const { size, nlink } = fstatSync(opened);
    if (!readlinkSync(own).startsWith(MEMORY) || nlink !== 0 || size !== sizeBytes) return undefined;
    fd = undefined;
    return { path: own, close: () => closeSync(opened) };
  } catch {
    return undefined; // we are not root, or it is gone
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/**
 * Has every page of the guest's memory there, and in the page tables of its QEMU, which looks at each of them while the guest stands still (to write-protect
 * it): those that are missing then cost a fault each, half a second for 512 MiB. No-op where its memory is none that we find.
 */
export async function touchMemory(pid: number): Promise<void> {
  for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) .* \/memfd:/.exec(line) ?? [];
    if (from === undefined || to === undefined) continue;
    const start = Number.parseInt(from, 16);
    const sizeBytes = Number.parseInt(to, 16) - start;
    const what = [
      `if=/proc/${pid}/mem`,
      `skip=${start}`,
      `count=${sizeBytes}`,
      "iflag=skip_bytes,count_bytes",
    ];
    await run("dd", [...what, "of=/dev/null", "bs=1M", "status=none"], { timeoutMs: COPY_MS });
  }
}

/** Copies what a guest that stands still has in memory, for `file`. @returns bytes that it takes. @throws CommandError; nothing is left of it then */
export async function keepRam(memory: string, file: string): Promise<number> {
  const part = `${file}.ram.part`;
  await rm(part, { force: true });
  try {
    await run("cp", ["--sparse=always", memory, part], { timeoutMs: COPY_MS });
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  await chmod(part, 0o600);
  await rename(part, `${file}.ram.${bootId()}`);
  return (await stat(`${file}.ram.${bootId()}`)).blocks * 512;
}

/** Makes sure of what keepRam has copied; the guest runs on meanwhile. */
export async function syncRam(file: string): Promise<void> {
  const fresh = `${file}.ram.${bootId()}`;
  if (!(await exists(fresh))) return;
  await run("sync", [fresh], { timeoutMs: COPY_MS });
  await rename(fresh, `${file}.ram`);
  await run("sync", [dirname(file)], { timeoutMs: COPY_MS });
}

/** The memory that is kept apart for `file`; undefined when there is none. @throws Error when it was lost with its host */
export async function ramOf(file: string): Promise<string | undefined> {
  const deadline = performance.now() + SYNC_WAIT_MS;
  for (;;) {
    for (const path of [`${file}.ram.${bootId()}`, `${file}.ram`]) if (await exists(path)) return path;
    // Another host is about to have it on disk.
    const names = readdirSync(dirname(file)).filter((name) => name.startsWith(`${basename(file)}.ram.`));
    if (names.length === 0) return undefined;
    if (performance.now() > deadline)
      throw new Error(`${file}: the host that had its memory was switched off before that was on disk`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Puts what is kept apart into a memory, which is empty. @returns whether there is any. @throws Error */
export async function copyRam(file: string, to: string | undefined): Promise<boolean> {
  for (let again = true; ; again = false) {
    const ram = await ramOf(file);
    if (!ram) return false;
    if (!to) throw new Error("the memory of its QEMU cannot be reached");
    const how = ["-n", "--target-is-zero", "-W", "-m", "8", "-f", "raw", "-O", "raw"];
    try {
      await run("qemu-img", ["convert", ...how, ram, to], { timeoutMs: COPY_MS });
      return true;
    } catch (error) {
      if (!again || (await exists(ram))) throw error; // else it got its last name meanwhile
    }
  }
}

/** Whatever there is of it. */
export async function removeMemory(file: string): Promise<void> {
  const [folder, name] = [dirname(file), basename(file)];
  for (const each of readdirSync(folder))
    if (each === name || each.startsWith(`${name}.`)) await rm(join(folder, each), { force: true });
}
