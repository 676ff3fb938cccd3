/** Text for somebody in the guest who waits for it at a pipe, by qemu-ga: no process of the guest has to be started for it. */
import { ask } from "./guest-exec.ts";

/** For whom nobody has to be started, it is a matter of milliseconds; emulated, and with code that is not translated yet, of some hundred. */
const ASK_MS = 2000;

/** @throws GuestExecError: no agent, or nothing of that name */
export async function guestTell(socket: string, path: string, text: string): Promise<void> {
  // "r+" makes no file where there is no pipe, and does not wait for whoever reads.
  const handle = await ask(socket, "guest-file-open", { path, mode: "r+" }, ASK_MS);
  try {
    await ask(
      socket,
      "guest-file-write",
      { handle, "buf-b64": Buffer.from(text).toString("base64") },
      ASK_MS,
    );
  } finally {
    // What was written is handed over only now.
    await ask(socket, "guest-file-close", { handle }, ASK_MS);
  }
}
