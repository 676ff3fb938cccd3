/**
 * Data disks and networks that a QEMU has at places of the board, which they got by their order. Nothing but its own arguments tells that order for sure: what was
 * asked of it since may be in another one. Pure.
 */
import { macKey } from "./devices.ts";
import { isFields } from "./qmp.ts";

export interface Fixed {
  fixed: {
    /** By name. */
    disks: string[];
    /** By MAC address without colons. */
    nics: string[];
  };
}

/** @param args as commandLine has made them */
export function fixedDevices(args: readonly string[]): Fixed {
  const devices = args.flatMap((arg, i) => (args[i - 1] === "-device" && arg.startsWith("{") ? [arg] : []));
  const fixed: Fixed["fixed"] = { disks: [], nics: [] };
  for (const text of devices) {
    const device: unknown = JSON.parse(text);
    if (!isFields(device) || /^port\d/.test(String(device.bus))) continue;
    const id = String(device.id);
    if (id.startsWith("disk-")) fixed.disks.push(id.slice("disk-".length));
    if (id.startsWith("nic") && typeof device.mac === "string") fixed.nics.push(macKey(device.mac));
  }
  return { fixed };
}
