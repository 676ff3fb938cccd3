/** What becomes of a memory that is sent to a QEMU which does not take it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openMemory, sendFile } from "./memory-files.ts";

it("a QEMU that ends while it is sent a memory takes nobody along", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-memory-"));
  const [file, path] = [join(folder, "file"), join(folder, "socket")];
  writeFileSync(file, Buffer.alloc(10_000));
  // All of it is on its way, and nothing of it was read.
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      end = () => {
        socket.on("close", () => server.close(() => resolve()));
        socket.destroy();
      };
    });
    server.listen(path);
  });
  await sendFile(file, path);
  end();
  await ended;
  await new Promise((resolve) => setImmediate(resolve));
  rmSync(folder, { recursive: true });
});

/** One descriptor of it is now the memory that its parent has (memfd_create), now another file, opened without the right to read it (O_PATH). */
const SWAPPER = `
  use POSIX ();
  my ($file, $size) = @ARGV;
  my $name = "memory-backend-memfd";
  my $memory = syscall(319, $name, 0);
  open(my $handle, "+<&=", $memory) or die; truncate($handle, $size) or die;
  my $parent = $$; $| = 1;
  my $child = fork // die;
  if ($child) { print "$child\\n"; sleep 60; exit }
  POSIX::close($memory);
  while (1) {
    for (["/proc/$parent/fd/$memory", 2], [$file, 0x200000]) { my $fd = POSIX::open(@$_); POSIX::close($fd) }
  }`;

it.runIf(process.getuid?.() === 0)(
  "a QEMU that was taken over has no other file read or written as its memory",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "vireo-memory-"));
    const secret = join(folder, "record.json");
    writeFileSync(secret, Buffer.alloc(4096));
    const parent = spawn("perl", ["-e", SWAPPER, secret, "4096"], { stdio: ["ignore", "pipe", "inherit"] });
    const [said] = await once(parent.stdout, "data");
    const pid = Number(said);
    try {
      let found = 0;
      for (let i = 0; i < 5000; i++) {
        const memory = openMemory(pid, 4096);
        if (!memory) continue;
        found++;
        expect(statSync(memory.path).ino).not.toBe(statSync(secret).ino);
        memory.close();
      }
      expect(found).toBeGreaterThan(0);
      expect(openMemory(parent.pid ?? 0, 8192)).toBeUndefined();
    } finally {
      process.kill(pid, "SIGKILL");
      parent.kill("SIGKILL");
      rmSync(folder, { recursive: true });
    }
  },
);
