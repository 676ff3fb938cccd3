/** qemu-ga, the agent inside the guest, over its virtio-serial channel. It may be absent, old, or hung: everything is bounded. */
import { connect } from "node:net";
import { isFields } from "./qmp.ts";

/** Bytes of one answer, as UTF-16 units. The guest may be hostile: what it sends must not fill the agent's memory. */
const MAX_ANSWER = 2 ** 20;

/** A byte that is never in JSON: makes the agent's parser forget half a command that an earlier client left behind. */
const FLUSH = Buffer.from([0xff]);

/** @returns its `return` value, or undefined when no agent answered in time or it refused the command */
export async function askGuestAgent(
  path: string,
  command: string,
  timeoutMs: number,
  args?: Record<string, unknown>,
): Promise<unknown | undefined> {
  const answer = await callGuestAgent(path, command, timeoutMs, args);
  return answer && "value" in answer ? answer.value : undefined;
}

/**
 * Runs one command, after a guest-sync that tells our answer from leftovers of earlier clients.
 * @returns its `return` value, or why the agent refused it; undefined when none answered in time
 */
export function callGuestAgent(
  path: string,
  command: string,
  timeoutMs: number,
  args?: Record<string, unknown>,
): Promise<{ value: unknown } | { error: string } | undefined> {
  return new Promise((resolve) => {
    const id = Math.floor(Math.random() * 2 ** 31);
    const socket = connect(path);
    let rest = "";
    let synced = false;
    const end = (answer: { value: unknown } | { error: string } | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end(undefined), timeoutMs);
    const send = (message: unknown) => socket.write(`${JSON.stringify(message)}\n`);
    socket.setEncoding("utf8");
    socket.on("error", () => end(undefined));
    socket.on("close", () => end(undefined));
    socket.on("connect", () => {
      socket.write(FLUSH);
      send({ execute: "guest-sync", arguments: { id } });
    });
    let received = 0;
    socket.on("data", (text: string) => {
      received += text.length;
      if (received > MAX_ANSWER) return end(undefined);
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const message = parse(line);
        if (!message) continue;
        if (!synced) {
          if (message.return !== id) continue;
          synced = true;
          send({ execute: command, ...(args ? { arguments: args } : {}) });
        } else
          return end("error" in message ? { error: reasonIn(message.error) } : { value: message.return });
      }
    });
  });
}

/** The guest's own words, cut short. */
const reasonIn = (error: unknown) => String(isFields(error) ? error.desc : error).slice(0, 300);

function parse(line: string): Record<string, unknown> | undefined {
  try {
    // A guest that was interrupted may begin with bytes that are no JSON.
    const value: unknown = JSON.parse(line.slice(Math.max(0, line.indexOf("{"))));
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
