/** Text for somebody in the guest who waits for it at a pipe, by qemu-ga: no process of the guest has to be started for it. */
import { ask } from "./guest-exec.ts";

/** @throws GuestExecError: no agent, or nothing of that name */
export async function guestTell(socket: string, path: string, text: string): Promise<void> {
  // "r+" makes no file where there is no pipe, and does not wait for whoever reads.
  const handle = await ask(socket, "guest-file-open", { path, mode: "r+" });
  try {
    await ask(socket, "guest-file-write", { handle, "buf-b64": Buffer.from(text).toString("base64") });
  } finally {
    // What was written is handed over only now.
    await ask(socket, "guest-file-close", { handle });
  }
}
