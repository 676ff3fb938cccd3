/** The network cards of a machine, over QMP: whether they have a link, and what the guest has made of them. */
import { type Nic, nicKey } from "./devices.ts";
import { isFields, type Qmp } from "./qmp.ts";

/** @throws QmpError */
export async function setLinks(qmp: Qmp, nics: readonly Nic[], up: boolean): Promise<void> {
  for (const [i, nic] of nics.entries()) await qmp.execute("set_link", { name: `nic${nicKey(nic, i)}`, up });
  // Others may know an earlier machine of the same address: the guest itself (virtio) tells who has it now, a few times, as one may be lost.
  if (up) await qmp.execute("announce-self", { initial: 20, max: 400, rounds: 5, step: 60 });
}

/** The hardware addresses that the guest has given its cards; only of those that tell (virtio). @throws QmpError */
export async function guestMacs(qmp: Qmp): Promise<string[]> {
  const answer = await qmp.execute("query-rx-filter");
  return (Array.isArray(answer) ? answer : [])
    .filter(isFields)
    .map((card) => String(card["main-mac"]).toLowerCase());
}
