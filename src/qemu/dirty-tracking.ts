/**
 * Memory of a guest under TCG is sent while it runs, without loss.
 *
 * TCG notices a write to a clean page only by an entry of its TLB that was made while the page was clean. QEMU clears the dirty
 * bits of all pages at the start of a migration and again before each further pass, and leaves the TLB as it is (physical_memory_sync_dirty_bitmap:
 * 7.2 never resets it, QEMU from 8.2 on only when a page has become dirty anew): entries from before write on unnoticed, and
 * the target gets old words (seen: guests that crash after the move). So here
 *
 *   - no page is sent yet when the first bits have been cleared; then the guest stands still for the few ms in which all TLBs are emptied, and only then
 *     its pages begin to go: what it wrote unnoticed before that goes with them; and
 *   - there is one pass only: bits are cleared next when the guest has been stopped for the switchover. What it wrote during the pass
 *     is sent then. With a downtime limit of 0 QEMU does exactly that.
 *
 * A TLB is emptied by any change of the guest's memory map. The one that is made is none: the chipset's PAM registers (which part of
 * the BIOS' area is RAM) are written with what they hold.
 */
import { type Qmp, QmpError } from "./qmp.ts";

/** Where the chipset of a board has its first PAM register, as an address of PCI configuration mechanism 1; none: no such register. */
const PAM: Readonly<Record<string, number>> = {
  q35: 0x8000_0090, // Intel 3 Series (Q35) datasheet, 5.1.22: device 0, offset 90h
  pc: 0x8000_0058, // Intel 82441FX datasheet, 4.1.19: device 0, offset 59h, within this doubleword
};
const ADDRESS_PORT = "0xcf8";
const DATA_PORT = "0xcfc";

/** Whether memory of a guest under TCG on such a board can be sent while it runs. */
export const canTrackWrites = (board: string): boolean => board in PAM;

/** Empties the TLBs of all virtual CPUs before they go on. The guest has to stand still. @throws QmpError */
export async function flushTlbs(qmp: Qmp, board: string): Promise<void> {
  const register = PAM[board];
  if (register === undefined) throw new QmpError("GenericError", `${board} has no PAM registers`);
  // The guest may have stood still between writing an address and reading the data. QEMU carries commands out in the order they come in.
  const [before, , value] = await Promise.all([
    readPort(qmp, ADDRESS_PORT),
    writePort(qmp, ADDRESS_PORT, register),
    readPort(qmp, DATA_PORT),
  ]);
  await Promise.all([writePort(qmp, DATA_PORT, value), writePort(qmp, ADDRESS_PORT, before)]);
}

async function monitor(qmp: Qmp, command: string): Promise<string> {
  const answer = await qmp.execute("human-monitor-command", { "command-line": command });
  return typeof answer === "string" ? answer : "";
}

/** "portl[0x0cf8] = 0x80000060" */
async function readPort(qmp: Qmp, port: string): Promise<number> {
  const answer = await monitor(qmp, `i /w ${port}`);
  const value = /= (0x[0-9a-f]+)/.exec(answer)?.[1];
  if (value === undefined)
    throw new QmpError("GenericError", `QEMU does not tell what port ${port} holds: ${answer.trim()}`);
  return Number(value);
}

const writePort = (qmp: Qmp, port: string, value: number) =>
  monitor(qmp, `o /w ${port} 0x${value.toString(16)}`);
