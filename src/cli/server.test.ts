/** Control planes and agents as processes of their own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";

/** Its control plane takes the connection and says nothing. */
const agentAt = async (state: string) => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  onTestFinished(() => void silent.close());
  const address = silent.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const enrolment = join(state, "enrolment.json");
  writeFileSync(enrolment, JSON.stringify({ ca: "", token: "t" }));
  const at = ["--join", `https://127.0.0.1:${port}`, "--name", "a", "--address", "127.0.0.1"];
  return ["agent", ...at, "--enrolment", enrolment];
};

it.for([
  ["a control plane", async () => ["server", "--listen", "127.0.0.1:0"]],
  ["an agent", agentAt],
] as const)(
  "files that %s waits for hold up no others: there is a thread for each of many",
  async ([, argsOf]) => {
    const state = mkdtempSync(join(tmpdir(), "vireo-server-"));
    const main = join(import.meta.dirname, "main.ts");
    const args = [main, "--state", state, ...(await argsOf(state))];
    const { UV_THREADPOOL_SIZE: _, ...env } = process.env;
    const child = spawn(process.execPath, args, { env, stdio: "ignore" });
    const gone = once(child, "exit");
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await gone;
      rmSync(state, { recursive: true });
    });
    const threads = () =>
      Number(/^Threads:\s*(\d+)$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]);
    await expect.poll(threads, { timeout: 55_000 }).toBeGreaterThan(64);
  },
);
