/** An image booted with QEMU, alone, until it powers itself down. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { BuiltImage } from "../build/builder.ts";

/**
 * @param folder of the image's files, which stay as they are
 * @returns what it said on its serial port. @throws Error with that, when it did not end in time
 */
export async function bootToEnd(
  folder: string,
  { file = "", boot }: BuiltImage,
  { memoryMiB, timeoutMs, options = "" }: { memoryMiB: number; timeoutMs: number; options?: string },
): Promise<string> {
  const at = (name = "") => join(folder, name);
  const serial = at("serial.log");
  const qemu = spawn(
    "qemu-system-x86_64",
    [
      `-M q35 -accel tcg -m ${memoryMiB} -nic user,model=virtio-net-pci -display none -nodefaults -serial file:${serial}`,
      `-kernel ${at(boot?.kernel)} -initrd ${at(boot?.initrd)} -drive file=${at(file)},if=virtio,format=qcow2 -snapshot`,
    ]
      .flatMap((line) => line.split(" "))
      .concat("-append", `${boot?.commandLine} ${options}`),
  );
  const kill = setTimeout(() => qemu.kill("SIGKILL"), timeoutMs);
  const code = await new Promise((done) => qemu.on("exit", done));
  clearTimeout(kill);
  const said = existsSync(serial) ? readFileSync(serial, "utf8") : "";
  if (code !== 0)
    throw new Error(`it did not power itself down within ${timeoutMs / 1000} s; it said: ${said}`);
  return said;
}
