import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { silentLogger } from "../../reconcile/log.ts";
import { HypervisorError, type MachineId } from "../hypervisor.ts";
import { MachineFolder } from "../qemu/qemu-record.ts";
import { MachineConsoles } from "./machine-consoles.ts";

it("a machine whose serial log cannot be had is found all the same", async () => {
  const path = mkdtempSync(join(tmpdir(), "vireo-consoles-"));
  const folder = MachineFolder.at(path);
  writeFileSync(folder.files.serialLog, "no folder");
  const consoles = new MachineConsoles({
    machine: () => {
      throw new HypervisorError("is not asked for");
    },
    monitor: () => Promise.reject(new HypervisorError("is not asked for")),
    log: silentLogger,
  });
  try {
    await expect(consoles.find("8b0e5f8e-6f0c-4a1c-9a67-1c7a3f9f3c11" as MachineId, folder)).resolves.toBe(
      undefined,
    );
  } finally {
    consoles.close();
    rmSync(path, { recursive: true });
  }
});
