/** Whether the network cards of a machine have a link, over QMP. */
import type { Qmp } from "./qmp.ts";

/** @param nics how many there are, named by command-line.ts. @throws QmpError */
export async function setLinks(qmp: Qmp, nics: number, up: boolean): Promise<void> {
  for (let i = 0; i < nics; i++) await qmp.execute("set_link", { name: `nic${i}`, up });
}
