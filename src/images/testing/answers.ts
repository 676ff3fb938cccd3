/** Whether a machine's web server answers, and how soon; started by QEMU without Vireo. */
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { freePort } from "../../system/testing/free-port.ts";

/**
 * Starts a machine under emulation and ends it when its web server has answered.
 * @param nic QEMU's name of the network card @param serial the file that what it says on its serial port is written to
 * @returns seconds from the start of QEMU to the first answer; NaN when none came
 */
export async function answers(
  args: readonly string[],
  { memoryMiB = 128, nic = "virtio-net-pci", limitMs = 120_000, serial = "" } = {},
): Promise<number> {
  const port = await freePort();
  const begin = performance.now();
  const qemu = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg", "-cpu", "qemu64", "-m", `${memoryMiB}`],
      ...["-nic", `user,model=${nic},hostfwd=tcp:127.0.0.1:${port}-:80`],
      ...["-display", "none", "-nodefaults", "-no-reboot", ...args],
      ...["-serial", serial ? `file:${serial}` : "null"],
    ],
    { stdio: "ignore" },
  );
  const ended = new Promise<void>((resolve) => qemu.once("exit", () => resolve()));
  try {
    while (performance.now() - begin < limitMs && qemu.exitCode === null && qemu.signalCode === null) {
      if (await asks(port)) return (performance.now() - begin) / 1000;
      await pause(50);
    }
    return Number.NaN;
  } finally {
    qemu.kill("SIGKILL");
    await ended;
  }
}

/** Whether an HTTP server answers there within a second. QEMU takes connections before its guest does. */
const asks = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.0\r\n\r\n"));
    socket.setTimeout(1000, () => socket.destroy());
    socket.on("data", (bytes) => resolve(/^HTTP\/1\.[01] 200/.test(bytes.toString("latin1"))));
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });
