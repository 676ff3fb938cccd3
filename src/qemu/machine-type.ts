/** The versioned machine types of a QEMU. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { BOARDS, type Hardware } from "./board.ts";

/**
 * The newest versioned type of a board, "pc-q35-7.2": an alias would mean another machine after an upgrade.
 * @returns undefined when this QEMU has none. @throws when it does not run
 */
export async function newestMachineType(
  binary: string,
  board: Hardware["board"],
): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)(binary, ["-machine", "help"]);
  return BOARDS[board].newest.exec(stdout)?.[1];
}
