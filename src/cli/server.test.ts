/** A control plane as a process of its own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";

it("files that are waited for hold up no others: there is a thread for each of many", async () => {
  const state = mkdtempSync(join(tmpdir(), "vireo-server-"));
  const main = join(import.meta.dirname, "main.ts");
  const args = [main, "--state", state, "server", "--listen", "127.0.0.1:0"];
  const { UV_THREADPOOL_SIZE: _, ...env } = process.env;
  const child = spawn(process.execPath, args, { env, stdio: "ignore" });
  const gone = once(child, "exit");
  onTestFinished(async () => {
    child.kill();
    await gone;
    rmSync(state, { recursive: true });
  });
  const threads = () =>
    Number(/^Threads:\s*(\d+)$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]);
  await expect.poll(threads, { timeout: 30_000 }).toBeGreaterThan(64);
});
