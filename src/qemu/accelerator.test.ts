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

/** @param kvm what it does under KVM before it ends as the probe's guest does */
function qemu(name: string, kvm: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n[ "$2" = kvm ] && { ${kvm}; }\nexit 133\n`);
  chmodSync(path, 0o755);
  return path;
}

it.runIf(opens())("a KVM under which a guest ends, but later than emulated, is none", async () => {
  const busy = qemu("slow", "i=0; while [ $i -lt 1000000 ]; do i=$((i + 1)); done");
  const { accelerator, reason } = await probeAccelerator(busy);
  expect(accelerator).toBe("tcg");
  expect(reason).toMatch(
    /^a probe guest took \d+ ms of CPU time under KVM, and \d+ ms under TCG$|did not finish/,
  );
});

it.runIf(opens())("one on a busy machine, where all has to wait, is one", async () => {
  expect((await probeAccelerator(qemu("waits", "sleep 0.8"))).accelerator).toBe("kvm");
});

it.runIf(opens())("one under which a guest does not end is none", async () => {
  const { accelerator, reason } = await probeAccelerator(qemu("hangs", "sleep 100"));
  expect([accelerator, reason]).toEqual([
    "tcg",
    "/dev/kvm opens, but a probe guest did not finish under KVM within 2.5 s",
  ]);
});
