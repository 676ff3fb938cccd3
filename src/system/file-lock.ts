/** One at a time, of all processes of this host. */
import { spawn } from "node:child_process";

/**
 * Does it while no other process, and nothing else in this one, holds the file, which is made where it is missing. By flock(1): the kernel lets go of it when this
 * process ends, whatever ends it.
 * @throws Error when it is not one's turn within `timeoutMs`; what the action throws
 */
export async function withFileLock<T>(
  path: string,
  action: () => Promise<T>,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<T> {
  signal?.throwIfAborted();
  // Says what it is told as soon as it holds the file, and ends with its input.
  const holder = spawn("flock", ["--no-fork", "--wait", String(timeoutMs / 1000), path, "cat"], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const end = () => void holder.kill("SIGKILL");
  signal?.addEventListener("abort", end);
  try {
    await new Promise<void>((resolve, reject) => {
      let said = "";
      holder.stderr.on("data", (chunk: Buffer) => {
        said += chunk.toString();
      });
      holder.once("error", reject);
      holder.stdin.on("error", () => {}); // its exit tells
      holder.stdout.once("data", () => resolve());
      holder.once("close", (code) =>
        reject(
          code === 1 && said === ""
            ? new Error(`${path}: another process has held it for ${timeoutMs / 1000} s`)
            : new Error(`flock: ${said.trim() || `ended with code ${code}`}`),
        ),
      );
      holder.stdin.write("\n");
    }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    });
    signal?.removeEventListener("abort", end);
    return await action();
  } finally {
    signal?.removeEventListener("abort", end);
    holder.stdin.end();
  }
}
