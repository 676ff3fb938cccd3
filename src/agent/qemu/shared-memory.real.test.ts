/** The memory of templates: whoever was given it has it until he closes it himself. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync } from "node:fs";
import { expect, it } from "vitest";
import { silentLogger } from "../../reconcile/log.ts";
import { SharedMemory } from "./shared-memory.ts";

it("memory that is let go of stays open for a start that is under way", { timeout: 5000 }, async () => {
  // A QEMU that has it, for as much as is looked at.
  const program =
    'my $n = "vireo-template"; syscall(319, $n, 0) == 3 or die; $| = 1; print "ready\\n"; sleep 60';
  const holder = spawn("perl", ["-e", program], { stdio: ["ignore", "pipe", "ignore"] });
  const memory = new SharedMemory(silentLogger);
  try {
    await once(holder.stdout, "data");
    const [one, other] = [await memory.of("f", 4096, [holder.pid ?? 0]), await memory.of("f", 4096, [])];
    if (!one || !other) throw new Error("it is not shared");
    expect(one.fd).not.toBe(other.fd);
    await memory.drop("f");
    for (const { fd } of [one, other]) {
      expect(fstatSync(fd).isFile()).toBe(true);
      closeSync(fd);
    }
  } finally {
    holder.kill();
  }
});
