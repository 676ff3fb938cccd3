/** What a hostile guest may send on the agent's channel. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { askGuestAgent } from "./guest-agent.ts";
import { guestExec, setGuestPassword } from "./guest-exec.ts";
import { guestTell } from "./guest-tell.ts";

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

it("that is busy keeps nobody waiting longer than he would, and is understood afterwards", async () => {
  let thaw = () => {};
  const talk = (socket: Socket, line: string) => {
    const id = /"id":(\d+)/.exec(line)?.[1];
    const answer = () => socket.write(`{"return": ${id ?? 1}}\n`);
    if (line.includes("freeze")) thaw = answer;
    else answer();
  };
  await withGuest(talk, async (path) => {
    const freeze = askGuestAgent(path, "guest-fsfreeze-freeze", 10_000);
    expect(await askGuestAgent(path, "guest-ping", 50)).toBeUndefined();
    thaw();
    expect(await freeze).toBe(1);
    expect(await askGuestAgent(path, "guest-ping", 5000)).toBe(1);
  });
});

describe("a program in the guest", () => {
  /** A qemu-ga that answers each command by its name. */
  const agent = (answers: Record<string, () => unknown>) => (socket: Socket, line: string) => {
    const message = JSON.parse(line.slice(line.indexOf("{")));
    const answer =
      message.execute === "guest-sync" ? { return: message.arguments.id } : answers[message.execute]?.();
    socket.write(`${JSON.stringify(answer)}\n`);
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const execute = (answers: Record<string, () => unknown>, timeoutMs = 5000) =>
    withGuest(agent(answers), (path) => guestExec(path, { command: ["ls", "-l"], timeoutMs }));

  it("that says more than is kept is told with its exit code and the begin of what it said", async () => {
    const said = base64("0123456789".repeat(2 ** 20));
    const state = { exited: true, exitcode: 3, "out-data": said, "err-data": said };
    const exit = await execute({
      "guest-exec": () => ({ return: { pid: 5 } }),
      "guest-exec-status": () => ({ return: state }),
    });
    expect(exit.exitCode).toBe(3);
    for (const text of [exit.stdout, exit.stderr]) {
      expect(text.length).toBeGreaterThan(2 ** 16);
      expect(text).toMatch(/^(0123456789)+\d*$/);
    }
  });

  it("is waited for, and what it said is read", async () => {
    let looks = 0;
    const ended = { exited: true, exitcode: 3, "out-data": base64("out"), "err-data": base64("err") };
    const exit = await execute({
      "guest-exec": () => ({ return: { pid: 7 } }),
      "guest-exec-status": () => ({ return: ++looks < 3 ? { exited: false } : ended }),
    });
    expect(exit).toEqual({ exitCode: 3, stdout: "out", stderr: "err", truncated: false });
  });

  it("whose end nobody waits for any more is not asked for", async () => {
    const over = new AbortController();
    let looks = 0;
    const answers = {
      "guest-exec": () => ({ return: { pid: 7 } }),
      "guest-exec-status": () => {
        if (++looks === 2) over.abort();
        return { return: { exited: false } };
      },
    };
    const program = { command: ["sleep", "9"], timeoutMs: 5000, lookMs: 1, signal: over.signal };
    await expect(withGuest(agent(answers), (path) => guestExec(path, program))).rejects.toThrow(
      "nobody waits",
    );
    expect(looks).toBe(2);
  });

  it("passwords come as they are, whatever is in them", async () => {
    const heard: unknown[] = [];
    const talk = (socket: Socket, line: string) => {
      const message = JSON.parse(line.slice(line.indexOf("{")));
      if (message.execute !== "guest-sync") heard.push(message);
      socket.write(`${JSON.stringify({ return: message.arguments.id ?? {} })}\n`);
    };
    await withGuest(talk, (path) => setGuestPassword(path, "root", 'a:"ß'));
    const password = base64('a:"ß');
    expect(heard).toEqual([
      { execute: "guest-set-user-password", arguments: { username: "root", password, crypted: false } },
    ]);
  });

  it("passwords are set without PAM where the guest has none", async () => {
    const heard: Record<string, unknown>[] = [];
    const says = (exitcode: number, error: string) => ({
      "guest-set-user-password": () => ({
        error: { class: "GenericError", desc: "child process has failed to set user password" },
      }),
      "guest-exec": () => ({ return: { pid: 7 } }),
      "guest-exec-status": () => ({ return: { exited: true, exitcode, "err-data": base64(error) } }),
    });
    const set = (answers: Record<string, () => unknown>) =>
      withGuest(
        (socket, line) => {
          heard.push(JSON.parse(line.slice(line.indexOf("{"))));
          agent(answers)(socket, line);
        },
        (path) => setGuestPassword(path, "root", "geheim"),
      );
    await set(says(0, ""));
    expect(heard.find(({ execute }) => execute === "guest-exec")).toMatchObject({
      arguments: {
        path: "chpasswd",
        arg: ["--crypt-method", "SHA512"],
        "input-data": base64("root:geheim\n"),
      },
    });
    await expect(set(says(1, "chpasswd: line 1: user 'root' does not exist"))).rejects.toThrow(
      /chpasswd in the guest refused it: .*does not exist/,
    );
    await expect(
      withGuest(agent({}), (path) => setGuestPassword(path, "root", "a\nadmin:b")),
    ).rejects.toThrow("line breaks");
  });

  it("that is refused, or does not end, is told so", async () => {
    const refused = { error: { class: "GenericError", desc: "no such file" } };
    await expect(execute({ "guest-exec": () => refused })).rejects.toThrow(/refused it: no such file/);
    const never = {
      "guest-exec": () => ({ return: { pid: 7 } }),
      "guest-exec-status": () => ({ return: { exited: false } }),
    };
    await expect(execute(never, 100)).rejects.toThrow(/not ended within 0.1 s; it runs on .* process 7/);
    await expect(execute({ "guest-exec": () => ({ return: "odd" }) })).rejects.toThrow(/which process/);
  });
});

describe("text for a pipe in the guest", () => {
  /** A guest with a pipe, or none. */
  async function tell(has: boolean): Promise<[string[], unknown]> {
    const said: string[] = [];
    const talk = (socket: Socket, line: string) => {
      const { execute, arguments: args } = JSON.parse(line.slice(line.indexOf("{")));
      if (execute !== "guest-sync") said.push(`${execute} ${JSON.stringify(args)}`);
      const answers: Record<string, unknown> = {
        "guest-sync": { return: args.id },
        "guest-file-open": has ? { return: 7 } : { error: { desc: "No such file or directory" } },
        "guest-file-write": { return: { count: 2, eof: false } },
        "guest-file-close": { return: {} },
      };
      socket.write(`${JSON.stringify(answers[execute])}\n`);
    };
    const error = await withGuest(talk, (path) => guestTell(path, "/run/pipe", "hi")).catch(
      (e: unknown) => e,
    );
    return [said, error];
  }

  it("is written, and what was opened is closed", async () => {
    expect(await tell(true)).toEqual([
      [
        'guest-file-open {"path":"/run/pipe","mode":"r+"}',
        'guest-file-write {"handle":7,"buf-b64":"aGk="}',
        'guest-file-close {"handle":7}',
      ],
      undefined,
    ]);
  });

  it("makes no file where there is no pipe", async () => {
    const [said, error] = await tell(false);
    expect(said).toHaveLength(1);
    expect(error).toMatchObject({ message: "the guest agent refused it: No such file or directory" });
  });
});
