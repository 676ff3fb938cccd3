/** `vireo explain vm/NAME`, `host/NAME`: the director's own judgement on the estate as it is now, as the server answers it. */

import type { HttpClient } from "../client/http.ts";
import { pathOf } from "../client/paths.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { placedFrom, powerToldFrom } from "../director/planning/answers.ts";
import { describePlaced, describePower } from "./explain-words.ts";
import { missing } from "./missing.ts";
import { kindOf, openSession, type Place, parseNames } from "./resources.ts";
import { UserError } from "./user-error.ts";
import { describeMachine } from "./watch-vms.ts";

/** @throws UserError when there is no such machine */
export async function explain(place: Place, what: string, print: (line: string) => void): Promise<void> {
  const { client, kinds, connection } = await openSession(place);
  const [{ kind, name } = {}] = parseNames(kinds, [what]);
  if (name && kind === kindOf(kinds, "host")) return explainHost(client, name, print);
  if (!name || kind !== kindOf(kinds, "vm"))
    throw new UserError(
      `${JSON.stringify(what)} is not vm/NAME or host/NAME: machines have a place to explain, and hosts their power; \`vireo explain ${what.split("/")[0]}\` tells what the kind means`,
    );
  const at = { name, namespace: place.namespace ?? connection.namespace };
  const vm = await client.get(VirtualMachine, at);
  if (!vm) throw missing("machine", name, at.namespace);
  const placed = placedFrom(await client.raw("GET", `${pathOf(VirtualMachine, at)}/placement`));
  print(`vm/${name}  ${describeMachine(vm)}`);
  if (vm.status?.why) print(`why       ${vm.status.why}`);
  describePlaced(placed, print);
}

/** Why it is on or off. @throws UserError when there is no such host */
async function explainHost(client: HttpClient, name: string, print: (line: string) => void): Promise<void> {
  const host = await client.get(Host, { name });
  if (!host) throw missing("host", name);
  describePower(host, powerToldFrom(await client.raw("GET", `${pathOf(Host, { name })}/power`)), print);
}
