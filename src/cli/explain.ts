/** `vireo explain vm/NAME`, `host/NAME`: the director's own judgement on the estate as it is now. */
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { readEstate } from "../director/estate/read-estate.ts";
import { explain as explainPlacement } from "../director/planning/explain.ts";
import { decidePower, explainPower } from "../director/power/power.ts";
import { forecastOf, readPower } from "../director/power/power-reconciler.ts";
import { PowerPolicy } from "../power/policies/kinds.ts";
import { systemClock } from "../reconcile/clock.ts";
import { openConnection } from "./connect.ts";
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
  const namespace = place.namespace ?? connection.namespace;
  const [vm, estate] = await Promise.all([
    client.get(VirtualMachine, { name, namespace }),
    readEstate(client),
  ]);
  const explanation = explainPlacement(estate, `${namespace}/${name}`);
  if (!vm || !explanation) throw missing("machine", name, namespace);
  print(`vm/${name}  ${describeMachine(vm)}`);
  if (vm.status?.why) print(`why       ${vm.status.why}`);
  const policies = explanation.policies.map((policy) => `${policy.name} (${policy.goal})`);
  print(`policies  ${policies.join(", ") || "none; balanced"}`);
  if (explanation.moves) print(`moves     ${explanation.moves}`);
  print("hosts     as they would be judged now, the best first:");
  for (const host of explanation.hosts)
    print(`  ${host.chosen ? "*" : " "} ${host.name.padEnd(12)} ${host.verdict}`);
}

/** Why it is on or off. @throws UserError when there is no such host */
async function explainHost(place: Place, name: string, print: (line: string) => void): Promise<void> {
  const { client } = openConnection(place.paths, place.kubeconfig);
  const host = await client.get(Host, { name });
  if (!host) throw missing("host", name);
  const policies = (await client.list(PowerPolicy)).items;
  const input = await readPower({ client, clock: systemClock });
  print(`host/${name}`);
  for (const line of explainPower(decidePower({ ...input, ahead: forecastOf(policies, input.now) }), host))
    print(line);
}
