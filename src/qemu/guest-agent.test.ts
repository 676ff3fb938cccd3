/** What a hostile guest may send on the agent's channel. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { askGuestAgent } from "./guest-agent.ts";

async function withGuest<T>(
  talk: (socket: Socket, line: string) => void,
  ask: (path: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-qga-"));
  const path = join(folder, "qga");
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      for (const line of data.toString("latin1").split("\n").filter(Boolean)) talk(socket, line);
    });
  });
  await new Promise<void>((done) => server.listen(path, done));
  try {
    return await ask(path);
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
}

it("is heard to a limit, and then no more", async () => {
  let sent = 0;
  const flood = (socket: Socket) => {
    while (sent < 2 ** 28 && socket.write("x".repeat(2 ** 16))) sent += 2 ** 16;
    if (sent < 2 ** 28) socket.once("drain", () => flood(socket));
  };
  const answer = await withGuest(flood, (path) => askGuestAgent(path, "guest-info", 5000));
  expect(answer).toBeUndefined();
  expect(sent).toBeLessThan(2 ** 25);
});

it("with a right answer is understood", async () => {
  const talk = (socket: Socket, line: string) => {
    const id = /"id":(\d+)/.exec(line)?.[1];
    socket.write(id ? `{"return": ${id}}\n` : '{"return": {"version": "1"}}\n');
  };
  expect(await withGuest(talk, (path) => askGuestAgent(path, "guest-info", 5000))).toEqual({ version: "1" });
});
