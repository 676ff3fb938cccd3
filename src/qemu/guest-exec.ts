/** A program in the guest, by qemu-ga: started, looked after until it ends, its outputs read. What the guest says is not trusted: bounded and checked. */
import { callGuestAgent } from "./guest-agent.ts";
import { isFields } from "./qmp.ts";

export interface GuestProgram {
  command: readonly string[];
  input?: string;
  timeoutMs: number;
  /** Between two looks at whether it has ended, each of which takes some of the guest's processor, and before the first; soon, and then less and less often, when absent. */
  lookMs?: number;
  /** Once aborted, nobody looks for its end any more; it runs on. */
  signal?: AbortSignal;
}

export interface GuestExit {
  exitCode?: number;
  signal?: number;
  stdout: string;
  stderr: string;
  /** The guest agent itself kept only a part (16 MiB). What is longer than is kept of any answer is cut short in any case. */
  truncated: boolean;
}

/** The text is for users. */
export class GuestExecError extends Error {}

const ASK_MS = 5000;
/** For an answer with all that a program has said, through a guest's serial port. */
const OUTPUT_MS = 30_000;
const LOOK_MS = [20, 20, 20, 20, 20, 50, 50, 50, 100, 100, 250, 500];

/** @throws GuestExecError: no agent, refused, not ended in time (it runs on in the guest) */
export async function guestExec(socket: string, program: GuestProgram): Promise<GuestExit> {
  const [path = "", ...arg] = program.command;
  const deadline = performance.now() + program.timeoutMs;
  const input =
    program.input === undefined ? {} : { "input-data": Buffer.from(program.input).toString("base64") };
  const pid = fieldsOf(await ask(socket, "guest-exec", { path, arg, ...input, "capture-output": true })).pid;
  if (typeof pid !== "number")
    throw new GuestExecError("the guest agent did not say which process it started");
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  if (program.lookMs) await pause(program.lookMs);
  for (let look = 0; ; look++) {
    if (program.signal?.aborted)
      throw new GuestExecError(`nobody waits for its end any more; it is process ${pid} in the guest`);
    const state = fieldsOf(await ask(socket, "guest-exec-status", { pid }, OUTPUT_MS));
    if (state.exited === true) return exitOf(state);
    if (performance.now() > deadline)
      throw new GuestExecError(
        `not ended within ${program.timeoutMs / 1000} s; it runs on in the guest as process ${pid} (spec.timeoutSeconds)`,
      );
    await pause(program.lookMs ?? LOOK_MS[look] ?? 1000);
  }
}

/**
 * Gives a user of the guest a password. The guest agent's own way needs PAM in the guest; where that fails, chpasswd is asked to do without.
 * @throws GuestExecError: no agent, refused (no such user, say)
 */
export async function setGuestPassword(socket: string, username: string, password: string): Promise<void> {
  if (/[\r\n]/.test(username + password))
    throw new GuestExecError("neither a user nor a password has line breaks");
  const coded = Buffer.from(password).toString("base64");
  try {
    await ask(socket, "guest-set-user-password", { username, password: coded, crypted: false });
  } catch (error) {
    if (!(error instanceof GuestExecError && error.message.includes("child process has failed"))) throw error;
    const { exitCode, stderr } = await guestExec(socket, {
      command: ["chpasswd", "--crypt-method", "SHA512"],
      input: `${username}:${password}\n`,
      timeoutMs: ASK_MS,
    });
    if (exitCode !== 0)
      throw new GuestExecError(`chpasswd in the guest refused it: ${stderr.trim().slice(0, 300)}`);
  }
}

/** @returns its `return` value. @throws GuestExecError */
export async function ask(
  socket: string,
  command: string,
  args: Record<string, unknown>,
  timeoutMs = ASK_MS,
): Promise<unknown> {
  const answer = await callGuestAgent(socket, command, timeoutMs, args);
  if (!answer)
    throw new GuestExecError(
      "no guest agent (qemu-ga) answers in the guest; is it installed and running there?",
    );
  if ("error" in answer) throw new GuestExecError(`the guest agent refused it: ${answer.error}`);
  return answer.value;
}

const fieldsOf = (value: unknown) => (isFields(value) ? value : {});

function exitOf(state: Record<string, unknown>): GuestExit {
  const text = (name: string) => Buffer.from(String(state[name] ?? ""), "base64").toString();
  const { exitcode, signal } = state;
  return {
    ...(Number.isInteger(exitcode) ? { exitCode: Number(exitcode) } : {}),
    ...(Number.isInteger(signal) ? { signal: Number(signal) } : {}),
    stdout: text("out-data"),
    stderr: text("err-data"),
    truncated: state["out-truncated"] === true || state["err-truncated"] === true,
  };
}
