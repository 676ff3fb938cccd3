/** What is made of how long a probe guest takes; QEMU is a script here that takes as long as it is told. */
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { probeAccelerator } from "./accelerator.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-accelerator-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const opens = () => {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
};

/** @param seconds that a guest takes under KVM, and emulated */
function qemu(seconds: { kvm: number; tcg: number }): string {
  const path = join(folder, `qemu-${seconds.kvm}`);
  writeFileSync(
    path,
    `#!/bin/sh\n[ "$2" = kvm ] && sleep ${seconds.kvm} || sleep ${seconds.tcg}\nexit 133\n`,
  );
  chmodSync(path, 0o755);
  return path;
}

it.runIf(opens())("a KVM under which a guest ends, but later than emulated, is none", async () => {
  const verdict = await probeAccelerator(qemu({ kvm: 1.4, tcg: 0 }));
  expect(verdict.accelerator).toBe("tcg");
  expect(verdict.reason).toMatch(/^a probe guest took \d+ ms under KVM, and \d+ ms under TCG$/);
});

it.runIf(opens())("one on a busy machine, where all is slow, is one", async () => {
  const verdict = await probeAccelerator(qemu({ kvm: 0.6, tcg: 0.9 }));
  expect(verdict.accelerator).toBe("kvm");
});
