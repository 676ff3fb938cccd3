/** The versioned machine types of a QEMU. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/**
 * The newest versioned q35, "pc-q35-7.2": an alias would mean another machine after an upgrade.
 * @returns undefined when this QEMU has none. @throws when it does not run
 */
export async function newestMachineType(binary: string): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)(binary, ["-machine", "help"]);
  return /alias of (pc-q35-[\d.]+)/.exec(stdout)?.[1];
}
