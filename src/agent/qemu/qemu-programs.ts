/** Which QEMU runs a machine, and what of machine it is when it was none before. */
import { TODAY } from "../../qemu/board.ts";
import { newestMachineType } from "../../qemu/machine-type.ts";
import { HypervisorError, type MachineConfig } from "../hypervisor.ts";

export class QemuPrograms {
  /** Of x86-64. */
  readonly #binary: string;
  /** By board. */
  readonly #newest = new Map<string, Promise<string | undefined>>();

  constructor(binary = "qemu-system-x86_64") {
    this.#binary = binary;
  }

  of({ hardware }: MachineConfig): string {
    return hardware?.architecture === "aarch64" ? "qemu-system-aarch64" : this.#binary;
  }

  /** @throws HypervisorError when there is no such QEMU here */
  async machineType(config: MachineConfig): Promise<string> {
    const { board } = config.hardware ?? TODAY;
    const binary = this.of(config);
    const asked = this.#newest.get(board) ?? newestMachineType(binary, board);
    this.#newest.set(board, asked);
    let type: string | undefined;
    try {
      type = await asked;
    } catch (cause) {
      this.#newest.delete(board); // it may be installed later
      throw new HypervisorError(`${binary} does not run here; is QEMU installed?`, { cause });
    }
    if (type) return type;
    throw new HypervisorError(`${binary} has no ${board} machine; is it a QEMU of that architecture?`);
  }
}
