/** Whether the network cards of a machine have a link, over QMP. */
import { type Nic, nicKey } from "./devices.ts";
import type { Qmp } from "./qmp.ts";

/** @throws QmpError */
export async function setLinks(qmp: Qmp, nics: readonly Nic[], up: boolean): Promise<void> {
  for (const [i, nic] of nics.entries()) await qmp.execute("set_link", { name: `nic${nicKey(nic, i)}`, up });
}
