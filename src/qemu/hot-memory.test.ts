/** What a guest gets back from its balloon where its host has not the memory, with a QEMU played by hand over a real unix socket. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { adjustBalloon } from "./hot-memory.ts";
import { isFields, Qmp } from "./qmp.ts";

const MiB = 2 ** 20;

it("a guest whose host lacks memory gets nothing back from its balloon, and gives it more all the same", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-balloon-"));
  let actual = 512 * MiB;
  const answers: Record<string, (given: unknown) => unknown> = {
    "qom-list": () => [{ name: "balloon", type: "child<virtio-balloon-pci>" }],
    "query-memory-devices": () => [],
    "query-balloon": () => ({ actual }),
    balloon: (given) => {
      actual = isFields(given) ? Number(given.value) : 0;
      return {};
    },
  };
  const server = createServer((socket) => {
    socket.write('{"QMP": {"version": {}}}\r\n');
    socket.on("error", () => undefined);
    socket.on("data", (data) => {
      for (const line of data.toString().split("\n").filter(Boolean)) {
        const said: unknown = JSON.parse(line);
        if (!isFields(said)) continue;
        const value = answers[String(said.execute)]?.(said.arguments) ?? {};
        socket.write(`${JSON.stringify({ return: value, id: said.id })}\r\n`);
      }
    });
  });
  await new Promise<void>((done) => server.listen(join(folder, "qmp"), done));
  const qmp = await Qmp.connect(join(folder, "qmp"));
  const ask = async (target: number | undefined, why?: string) => [
    await adjustBalloon(qmp, {
      hasRoom: false,
      cpus: 1,
      cpusGo: false,
      begunWith: 1024 * MiB,
      memory: 1024 * MiB,
      ...(target === undefined ? {} : { target: target * MiB }),
      ...(why ? { lacking: { memoryTarget: why } } : {}),
    }),
    actual / MiB,
  ];
  expect(await ask(undefined, "short")).toEqual(["short", 512]);
  expect(await ask(600, "short")).toEqual(["short", 512]);
  expect(await ask(512, "short")).toEqual([undefined, 512]);
  expect(await ask(256, "short")).toEqual([undefined, 256]);
  expect(await ask(600)).toEqual([undefined, 600]);
  expect(await ask(undefined)).toEqual([undefined, 1024]);
  // It has all of it.
  expect(await ask(undefined, "short")).toEqual([undefined, 1024]);
  qmp.close();
  server.close();
  rmSync(folder, { recursive: true });
});
