/** The memory of templates: whoever was given it has it until he closes it himself. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { silentLogger } from "../../reconcile/log.ts";
import { markOf, SHARED_FD, SharedMemory } from "./shared-memory.ts";

function markOfMemory(pid: number): string {
  const seen = openSync(`/proc/${pid}/fd/${SHARED_FD}`, "r");
  try {
    return markOf(seen);
  } finally {
    closeSync(seen);
  }
}

it("memory that is let go of stays open for a start that is under way", { timeout: 5000 }, async () => {
  // A QEMU that has it, for as much as is looked at.
  const program =
    'my $n = "vireo-template"; syscall(319, $n, 0) == 3 or die; $| = 1; print "ready\\n"; sleep 60';
  const holder = spawn("perl", ["-e", program], { stdio: ["ignore", "pipe", "ignore"] });
  const memory = new SharedMemory(silentLogger);
  try {
    await once(holder.stdout, "data");
    const pid = holder.pid ?? 0;
    const mark = markOfMemory(pid);
    const [one, other] = [await memory.of("f", 4096, [{ pid, mark }]), await memory.of("f", 4096, [])];
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

it("what a QEMU that was taken over has put in its place is nobody else's memory", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-template-"));
  const file = join(folder, "template");
  writeFileSync(`${file}.ram`, Buffer.alloc(4096, "clean"));
  const memory = new SharedMemory(silentLogger);
  const program = `
    my $n = "vireo-template"; syscall(319, $n, 0) == 3 or die; $| = 1; print "ready\\n"; <STDIN>;
    open(my $f, "+<&=", 3) or die; syswrite($f, "taken over" x 410); print "done\\n"; sleep 60`;
  const holder = spawn("perl", ["-e", program], { stdio: ["pipe", "pipe", "ignore"] });
  try {
    await once(holder.stdout, "data");
    const pid = holder.pid ?? 0;
    const mark = markOfMemory(pid);
    holder.stdin.write("\n");
    await once(holder.stdout, "data");
    const shared = await memory.of(file, 4096, [{ pid, mark }]);
    if (!shared) throw new Error("it is not shared");
    await shared.whole;
    const bytes = Buffer.alloc(5);
    readSync(shared.fd, bytes, 0, 5, 0);
    expect(bytes.toString()).toBe("clean");
    closeSync(shared.fd);
  } finally {
    holder.kill();
    await memory.drop(file);
    rmSync(folder, { recursive: true });
  }
});
