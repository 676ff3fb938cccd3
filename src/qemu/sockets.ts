/** What the kernel knows of a QEMU's TCP connections, and QEMU does not tell. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { promisify } from "node:util";

/** Of "tcp:IP:PORT", as QEMU writes it; undefined for anything else. */
export function parseTcp(address: string): { host: string; port: string } | undefined {
  const [, six, four, port] = /^tcp:(?:\[([0-9a-fA-F:]+)\]|([0-9.]+)):(\d+)$/.exec(address) ?? [];
  const host = six ?? four;
  return host && port ? { host, port } : undefined;
}

const TOLD = { timeout: 5000, maxBuffer: 2 ** 26 };

/** Inodes of a process' sockets. */
function socketsOf(pid: number): Set<string> {
  return new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
      } catch {
        return []; // closed while we looked
      }
    }),
  );
}

/** TCP ports that a process listens at. */
export function listeningPorts(pid: number): number[] {
  const sockets = socketsOf(pid);
  const LISTEN = "0A";
  return ["tcp", "tcp6"].flatMap((kind) =>
    readFileSync(`/proc/${pid}/net/${kind}`, "utf8")
      .split("\n")
      .slice(1)
      .flatMap((line) => {
        // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
        const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
        return state === LISTEN && sockets.has(inode) ? [Number.parseInt(local.split(":")[1] ?? "", 16)] : [];
      }),
  );
}

/** How many bytes the other ends' kernels have confirmed, over all of a process' TCP connections. @throws Error */
export async function confirmedBytes(pid: number): Promise<number> {
  const sockets = socketsOf(pid);
  const what = ["--no-header", "--tcp", "--numeric", "--extended", "--info"];
  const { stdout } = await promisify(execFile)("ss", what, TOLD);
  return [...stdout.matchAll(/ ino:(\d+) .*\n\t.* bytes_acked:(\d+)/g)].reduce(
    (sum, [, inode = "", bytes]) => sum + (sockets.has(inode) ? Number(bytes) : 0),
    0,
  );
}
