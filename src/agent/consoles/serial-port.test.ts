import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SerialLog } from "./serial-log.ts";
import { SerialPort } from "./serial-port.ts";

/** As when there is no descriptor left to open it with. */
class UnreadableLog extends SerialLog {
  override read(position: number, max: number) {
    if (this.end > 0) throw new Error("EMFILE");
    return super.read(position, max);
  }
}

it("a viewer for whom the log cannot be read is cut off, and nothing else happens", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-port-"));
  const path = join(folder, "serial");
  const server = createServer().listen(path);
  const connected: Promise<Socket[]> = once(server, "connection");
  try {
    await once(server, "listening");
    const errors: unknown[] = [];
    const port = await SerialPort.open(path, {
      again: false,
      log: new UnreadableLog(join(folder, "log")),
      onEnd: () => {},
      onError: (error) => errors.push(error),
    });
    const viewer = port.view(0).resume();
    const failed = once(viewer, "error");
    const [qemu] = await connected;
    qemu?.write("boot");
    expect(await failed).toMatchObject([{ message: "EMFILE" }]);
    expect(viewer.destroyed).toBe(true);
    expect(port.isOver).toBe(false);
    expect(errors).toEqual([]);
    port.close();
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
});
