/** What becomes of a memory that is sent to a QEMU which does not take it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "vitest";
import { sendFile } from "./memory-files.ts";

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
