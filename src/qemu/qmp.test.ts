/** The client against a QEMU played by hand, over a real unix socket. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askGuestAgent } from "./guest-agent.ts";
import { downtimeLimitMs, queryMigration } from "./migration.ts";
import { isFields, Qmp } from "./qmp.ts";

let folder: string;
let path: string;
let server: Server;
let sockets: Socket[];
/** What the played QEMU does with each line it gets; `say` writes one line. */
let answer: (line: Record<string, unknown>, say: (text: string) => void, socket: Socket) => void;
let greeting: string;

const ok = (line: Record<string, unknown>, value: unknown = {}) =>
  JSON.stringify({ return: value, id: line.id });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-qmp-"));
  path = join(folder, "qmp");
  sockets = [];
  greeting = '{"QMP": {"version": {}}}\r\n';
  answer = (line, say) => say(ok(line));
  server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    if (greeting) socket.write(greeting);
    socket.on("data", (data) => {
      for (const text of data.toString("latin1").split("\n").filter(Boolean)) {
        const line: unknown = JSON.parse(text.replace(/^\xff/, ""));
        if (!isFields(line)) continue;
        if (line.execute === "qmp_capabilities") socket.write(`${ok(line)}\r\n`);
        else answer(line, (said) => socket.write(`${said}\r\n`), socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

describe("the QMP client", () => {
  it("matches answers by id, whatever their order, and tells events at once", async () => {
    const waiting: Record<string, unknown>[] = [];
    answer = (line, say) => {
      waiting.push(line);
      if (waiting.length < 2) return;
      say('{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 0}}');
      say("this is no JSON");
      say("null");
      for (const each of waiting.reverse()) say(ok(each, each.execute));
    };
    const qmp = await Qmp.connect(path);
    const events: string[] = [];
    qmp.onEvent(({ event }) => events.push(event));
    const answers = await Promise.all([qmp.execute("one"), qmp.execute("two")]);
    expect({ answers, events }).toEqual({ answers: ["one", "two"], events: ["STOP"] });
    qmp.close();
  });

  it("puts lines together that come in pieces", async () => {
    answer = (line, _say, socket) => {
      const text = `${ok(line, "ä".repeat(50_000))}\r\n`;
      const bytes = Buffer.from(text);
      socket.write(bytes.subarray(0, 31)); // within a character
      setImmediate(() => socket.write(bytes.subarray(31)));
    };
    const qmp = await Qmp.connect(path);
    expect(await qmp.execute("big")).toBe("ä".repeat(50_000));
    qmp.close();
  });

  it("lets go of a QEMU that writes without end, and keeps none of it", async () => {
    const piece = "x".repeat(2 ** 20);
    let sent = 0;
    answer = (_line, _say, socket) => {
      const more = () => {
        if (socket.destroyed) return;
        sent++;
        if (socket.write(piece)) setImmediate(more);
      };
      socket.on("drain", more);
      more();
    };
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute("query-status")).rejects.toMatchObject({ errorClass: "Disconnected" });
    expect(qmp.closed).toBe(true);
    expect(sent).toBeLessThan(64);
  });

  it.each([
    { offered: "[]", sent: "execute" },
    { offered: '["oob"]', sent: "exec-oob" },
  ])("sends past what QEMU is busy with when it offers that: $offered", async ({ offered, sent }) => {
    greeting = `{"QMP": {"version": {}, "capabilities": ${offered}}}\r\n`;
    const seen: Record<string, unknown>[] = [];
    answer = (line, say) => {
      seen.push(line);
      say(ok(line));
    };
    const qmp = await Qmp.connect(path);
    await qmp.executeOutOfBand("yank");
    expect(seen).toEqual([{ [sent]: "yank", id: expect.any(Number) }]);
    qmp.close();
  });

  it("gives QEMU's own words for an error", async () => {
    answer = (line, say) =>
      say(JSON.stringify({ error: { class: "DeviceNotFound", desc: "Device 'x' not found" }, id: line.id }));
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute("device_del", { id: "x" })).rejects.toMatchObject({
      message: "Device 'x' not found",
      errorClass: "DeviceNotFound",
    });
    qmp.close();
  });

  it("gives up after its time, and is not confused by a late answer", async () => {
    let late: () => void = () => undefined;
    answer = (line, say) => {
      if (line.execute === "slow") late = () => say(ok(line, "late"));
      else {
        late();
        say(ok(line, "in time"));
      }
    };
    const qmp = await Qmp.connect(path);
    await expect(qmp.execute("slow", undefined, 20)).rejects.toMatchObject({ errorClass: "Timeout" });
    expect(await qmp.execute("fast")).toBe("in time");
    qmp.close();
  });

  it("tells everybody who waits when the connection breaks", async () => {
    answer = (_, __, socket) => socket.destroy();
    const qmp = await Qmp.connect(path);
    const event = qmp.waitFor(() => true, 5000);
    let closed = 0;
    qmp.onClose(() => closed++);
    await expect(qmp.execute("quit")).rejects.toMatchObject({ errorClass: "Disconnected" });
    expect(await event).toBeUndefined();
    await expect(qmp.execute("more")).rejects.toMatchObject({ errorClass: "Disconnected" });
    qmp.onClose(() => closed++);
    expect(closed).toBe(2);
  });

  it("says that another client may hold the monitor when no greeting comes", async () => {
    greeting = "";
    await expect(Qmp.connect(path, 30)).rejects.toThrow(
      /no greeting within 30 ms; another client may hold it|another client/,
    );
  });

  it("says when nothing listens", async () => {
    await expect(Qmp.connect(join(folder, "absent"))).rejects.toMatchObject({ errorClass: "Disconnected" });
  });
});

describe("the status of a migration", () => {
  const status = async (migrate: unknown, run: string) => {
    answer = (line, say) => say(ok(line, line.execute === "query-migrate" ? migrate : { status: run }));
    const qmp = await Qmp.connect(path);
    const found = await queryMigration(qmp);
    qmp.close();
    return found.status;
  };

  it("completed counts only for a guest that has not run here since", async () => {
    const completed = { status: "completed", ram: { transferred: 5, remaining: 0 } };
    expect(await status(completed, "finish-migrate")).toBe("completed");
    expect(await status(completed, "postmigrate")).toBe("completed");
    expect(await status(completed, "running")).toBe("none");
    // At the target, before and after it took over.
    expect(await status({ status: "completed" }, "paused")).toBe("none");
    expect(await status({ status: "completed" }, "running")).toBe("none");
    expect(await status({}, "running")).toBe("none");
    expect(await status({ status: "failed" }, "running")).toBe("failed");
  });

  it("the outage QEMU aims at grows only when a migration does not end", () => {
    const limits = [0, 1, 8, 9, 12, 15, 100].map((passes) => downtimeLimitMs(passes));
    expect(limits).toEqual([30, 30, 30, 60, 120, 240, 2000]);
  });
});

describe("the guest agent", () => {
  const ask = (timeoutMs = 2000) => askGuestAgent(path, "guest-info", timeoutMs);
  beforeEach(() => {
    greeting = '{"return": 12345}\n{"half'; // left behind by an earlier client
  });
  const sync = (line: Record<string, unknown>) =>
    JSON.stringify({ return: isFields(line.arguments) ? line.arguments.id : undefined });

  it("is synchronised first, over what others left behind", async () => {
    const seen: unknown[] = [];
    answer = (line, say) => {
      seen.push(line.execute);
      say(line.execute === "guest-sync" ? `\n${sync(line)}` : '{"return": {"version": "7.2"}}');
    };
    expect(await ask()).toEqual({ version: "7.2" });
    expect(seen).toEqual(["guest-sync", "guest-info"]);
  });

  it("that refuses, is silent, hangs up or is absent is no answer", async () => {
    answer = (line, say) =>
      say(line.execute === "guest-sync" ? `\n${sync(line)}` : '{"error": {"class": "CommandNotFound"}}');
    expect(await ask()).toBeUndefined();
    answer = () => undefined;
    expect(await ask(30)).toBeUndefined();
    answer = (_, __, socket) => socket.destroy();
    expect(await ask()).toBeUndefined();
    expect(await askGuestAgent(join(folder, "absent"), "guest-info", 2000)).toBeUndefined();
  });
});
