/** `vireo explain vm/NAME`, `host/NAME`: the director's own judgement on the estate as it is now; of machines the server's answer. */

import type { Client } from "../client/client.ts";
import { pathOf } from "../client/paths.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { readHistory } from "../director/estate/history-keeper.ts";
import type { Seen } from "../director/estate/read-estate.ts";
import { placedFrom } from "../director/planning/answers.ts";
import { decidePower, explainForecast, explainPower } from "../director/power/power.ts";
import { forecastOf, readPower } from "../director/power/power-reconciler.ts";
import { policyFor } from "../director/power/standing.ts";
import { systemClock } from "../reconcile/clock.ts";
import { isApiError } from "../resource/errors.ts";
import { openConnection } from "./connect.ts";
import { describePlaced } from "./explain-words.ts";
import { missing } from "./missing.ts";
import type { Place } from "./resources.ts";
import { UserError } from "./user-error.ts";
import { describeMachine } from "./watch-vms.ts";

/** @throws UserError when there is no such machine */
export async function explain(place: Place, what: string, print: (line: string) => void): Promise<void> {
  const host = /^hosts?(?:\.vireo\.dev)?\/([^/]+)$/.exec(what)?.[1];
  if (host) return explainHost(place, host, print);
  // As `get -o name` writes it, too.
  const name = /^(?:vm|virtualmachine)s?(?:\.vireo\.dev)?\/([^/]+)$/.exec(what)?.[1];
  if (!name)
    throw new UserError(
      `${JSON.stringify(what)} is not vm/NAME or host/NAME: machines have a place to explain, and hosts their power; \`vireo explain ${what.split("/")[0]}\` tells what the kind means`,
    );
  const connection = openConnection(place.paths, place.kubeconfig);
  const { client } = connection;
  const at = { name, namespace: place.namespace ?? connection.namespace };
  const vm = await client.get(VirtualMachine, at);
  if (!vm) throw missing("machine", name, at.namespace);
  const placed = placedFrom(await client.raw("GET", `${pathOf(VirtualMachine, at)}/placement`));
  print(`vm/${name}  ${describeMachine(vm)}`);
  if (vm.status?.why) print(`why       ${vm.status.why}`);
  describePlaced(placed, print);
}

/** Why it is on or off. @throws UserError when there is no such host */
async function explainHost(place: Place, name: string, print: (line: string) => void): Promise<void> {
  const { client } = openConnection(place.paths, place.kubeconfig);
  const host = await client.get(Host, { name });
  if (!host) throw missing("host", name);
  const input = await readPower({ client, ...(await seenBy(client, print)) });
  const ahead = forecastOf(input.policies, input.now);
  print(`host/${name}`);
  for (const line of explainPower(decidePower({ ...input, ahead }), host)) print(line);
  const policy = policyFor(input.policies, host);
  if (policy) print(`forecast  ${explainForecast(policy, host, input.now)}`);
}

/** What the director expects of machines; who may not read that is told, and sees what is declared. */
async function seenBy(client: Client, print: (line: string) => void): Promise<Seen> {
  const clock = systemClock;
  try {
    return { clock, history: await readHistory(client, clock) };
  } catch (error) {
    if (!isApiError(error, "Forbidden")) throw error;
    print(`note      without what machines were seen to use, by which the director goes: ${error.message}`);
    return { clock };
  }
}
