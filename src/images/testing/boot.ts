/** Images booted with QEMU, alone, without their disks being changed. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { isWholePng } from "../../qemu/testing/png.ts";
import type { BuiltImage } from "../kinds.ts";

export interface Boot {
  memoryMiB: number;
  timeoutMs: number;
  /** Of the kernel, besides the image's. */
  options?: string;
  /** QEMU's, besides the image's disk. */
  devices?: readonly string[];
}

const LOOK_MS = 100;
/** A machine may not listen yet when it is asked to power down: it is asked again. */
const ASK_MS = 500;
/** A network card. */
export const NIC = ["-nic", "user,model=virtio-net-pci"];
/** The serial port's as a terminal would take them: ends of lines, colours. */
const TERMINAL = new RegExp(`\\r|${String.fromCharCode(27)}\\[[\\d;]*[mK]`, "g");

class Machine {
  readonly #qemu;
  readonly #serial: string;
  readonly #begin = performance.now();
  readonly #timeoutMs: number;
  /** With QEMU's code. */
  readonly ended: Promise<number | null>;
  #isOver = false;

  constructor(
    folder: string,
    { file = "", boot }: BuiltImage,
    { memoryMiB, timeoutMs, options = "", devices = [] }: Boot,
  ) {
    const at = (name = "") => join(folder, name);
    this.#timeoutMs = timeoutMs;
    this.#serial = at(`${file}.log`);
    rmSync(this.#serial, { force: true });
    const own = "-M q35 -accel tcg -display none -nodefaults -no-reboot -snapshot -monitor stdio".split(" ");
    this.#qemu = spawn(
      "qemu-system-x86_64",
      [
        ...own,
        ...["-m", `${memoryMiB}`, "-serial", `file:${this.#serial}`],
        ...["-kernel", at(boot?.kernel), "-initrd", at(boot?.initrd)],
        ...["-append", `${boot?.commandLine ?? ""} ${options}`],
        ...["-drive", `file=${at(file)},if=virtio,format=qcow2`],
        ...devices,
      ],
      { stdio: ["pipe", "ignore", "inherit"] },
    );
    this.#qemu.stdin.on("error", () => {}); // it may just have ended
    this.ended = new Promise((resolve, reject) => {
      this.#qemu.once("error", reject);
      this.#qemu.once("exit", (code) => {
        this.#isOver = true;
        resolve(code);
      });
    });
  }

  said(): string {
    return existsSync(this.#serial) ? readFileSync(this.#serial, "utf8").replace(TERMINAL, "") : "";
  }

  get seconds(): number {
    return (performance.now() - this.#begin) / 1000;
  }

  /** What it shows, as it was at the last call: QEMU takes a moment. Undefined: that picture is not there, or not whole. */
  picture(): Buffer | undefined {
    const path = `${this.#serial}.png`;
    const png = existsSync(path) ? readFileSync(path) : undefined;
    rmSync(path, { force: true });
    this.#qemu.stdin.write(`screendump ${path} -f png\n`);
    return png && isWholePng(png) ? png : undefined;
  }

  powerDown(): void {
    this.#qemu.stdin.write("system_powerdown\n");
  }

  /** Until `look` finds what it looks for, it has ended, or its time is over; then it is ended. */
  async watch(everyMs: number, look: () => Promise<boolean>): Promise<void> {
    try {
      while (!this.#isOver && this.seconds * 1000 < this.#timeoutMs && !(await look()))
        await Promise.race([this.ended, wait(everyMs)]);
    } finally {
      this.#qemu.kill("SIGKILL");
      await this.ended;
    }
  }
}

/**
 * @param folder of the image's files
 * @returns what it said on its serial port, and how many seconds after the start of QEMU it `says` so; undefined: not in time
 */
export async function bootUntil(
  folder: string,
  image: BuiltImage,
  says: RegExp,
  boot: Boot,
): Promise<{ said: string; seconds: number | undefined }> {
  const machine = new Machine(folder, image, boot);
  let seconds: number | undefined;
  await machine.watch(LOOK_MS, async () => {
    if (!says.test(machine.said())) return false;
    seconds = machine.seconds;
    return true;
  });
  return { said: machine.said(), seconds };
}

/**
 * A machine with a screen, until what it shows is what is looked for.
 * @param look at each picture of it, a PNG @returns after how many seconds that was; undefined: not in time
 */
export async function bootUntilSeen(
  folder: string,
  image: BuiltImage,
  look: (png: Buffer, seconds: number) => boolean,
  { devices = [], ...boot }: Boot,
): Promise<number | undefined> {
  const machine = new Machine(folder, image, { ...boot, devices: ["-vga", "std", ...devices] });
  let seconds: number | undefined;
  await machine.watch(ASK_MS, async () => {
    const png = machine.picture();
    if (!png || !look(png, machine.seconds)) return false;
    seconds = machine.seconds;
    return true;
  });
  return seconds;
}

/**
 * Until it powers itself down.
 * @param folder of the image's files @param isDone whether it may be asked to, by what it said
 * @returns what it said on its serial port. @throws Error with that, when it did not end in time
 */
export async function bootToEnd(
  folder: string,
  image: BuiltImage,
  { isDone, ...boot }: Boot & { isDone?: (said: string) => boolean | Promise<boolean> },
): Promise<string> {
  const machine = new Machine(folder, image, boot);
  await machine.watch(ASK_MS, async () => {
    if (await isDone?.(machine.said())) machine.powerDown();
    return false;
  });
  const code = await machine.ended;
  if (code !== 0)
    throw new Error(
      `it did not power itself down within ${boot.timeoutMs / 1000} s; it said: ${machine.said()}`,
    );
  return machine.said();
}
