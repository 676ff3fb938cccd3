/** The nginx appliance of the examples, for measurements: built, and started by QEMU without Vireo. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { parse } from "yaml";
import { CACHE } from "../src/cli/paths.ts";
import { type BuiltImage, buildImage } from "../src/images/build/builder.ts";
import type { Recipe } from "../src/images/recipe.ts";
import { freePort } from "../src/system/testing/free-port.ts";
import { pause } from "./measure.ts";

/** Safe: the example is a recipe; the build would say what is wrong with it. */
export const EXAMPLE = {
  distribution: "debian",
  release: "bookworm",
  ...parse(readFileSync(join(import.meta.dirname, "../examples/appliance.yaml"), "utf8")),
} as Recipe;

/** @param at the folder that it is built in @param layers what is kept between builds */
export async function build(
  recipe: Recipe,
  at: string,
  layers: string,
): Promise<{ built: BuiltImage; seconds: number; at: string }> {
  const begin = performance.now();
  const built = await buildImage({
    name: "web",
    recipe,
    folder: at,
    cache: CACHE,
    layers,
    progress: () => {},
  });
  return { built, seconds: (performance.now() - begin) / 1000, at };
}

/**
 * Starts a machine under emulation and ends it when its web server has answered.
 * @param nic QEMU's name of the network card @returns seconds from the start of QEMU to the first answer; NaN when none came
 */
export async function answers(
  args: readonly string[],
  { memoryMiB = 128, nic = "virtio-net-pci", limitMs = 120_000 } = {},
): Promise<number> {
  const port = await freePort();
  const begin = performance.now();
  const qemu = spawn(
    "qemu-system-x86_64",
    [
      ...["-accel", "tcg", "-cpu", "qemu64", "-m", `${memoryMiB}`],
      ...["-nic", `user,model=${nic},hostfwd=tcp:127.0.0.1:${port}-:80`],
      ...["-display", "none", "-nodefaults", "-no-reboot", "-serial", "null", ...args],
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
    socket.on("data", (bytes) => resolve(bytes.toString("latin1").startsWith("HTTP/1.1 200")));
    socket.on("error", () => resolve(false));
    socket.on("close", () => resolve(false));
  });
