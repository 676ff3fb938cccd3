import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { lockFolder } from "./lock.ts";

it("holds a folder against others until it is let go, or its process is killed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-lock-"));
  try {
    const unlock = await lockFolder(folder);
    await expect(lockFolder(folder)).rejects.toThrow("another agent works with this folder");
    unlock();
    const script = `import { lockFolder } from ${JSON.stringify(join(import.meta.dirname, "lock.ts"))};
      await lockFolder(${JSON.stringify(folder)}); console.log("held"); setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
    await new Promise((done) => child.stdout.once("data", done));
    await expect(lockFolder(folder)).rejects.toThrow("another agent");
    child.kill("SIGKILL");
    await new Promise((done) => child.once("exit", done));
    (await lockFolder(folder))();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
