/** `vireo explain vm/NAME`: the director's own judgement on the estate as it is now, host by host. */
import { VirtualMachine } from "../compute/kinds.ts";
import { explain as explainPlacement } from "../director/explain.ts";
import { readEstate } from "../director/snapshot.ts";
import { openConnection } from "./connect.ts";
import type { Place } from "./resources.ts";
import { UserError } from "./user-error.ts";
import { describeMachine } from "./watch-vms.ts";

/** @throws UserError when there is no such machine */
export async function explain(place: Place, what: string, print: (line: string) => void): Promise<void> {
  // As `get -o name` writes it, too.
  const name = /^(?:vm|virtualmachine)s?(?:\.vireo\.dev)?\/([^/]+)$/.exec(what)?.[1];
  if (!name)
    throw new UserError(
      `${JSON.stringify(what)} is not vm/NAME: only machines have a place to explain; \`vireo explain ${what.split("/")[0]}\` tells what the kind means`,
    );
  const connection = openConnection(place.paths, place.kubeconfig);
  const { client } = connection;
  const namespace = place.namespace ?? connection.namespace;
  const [vm, estate] = await Promise.all([
    client.get(VirtualMachine, { name, namespace }),
    readEstate(client),
  ]);
  const explanation = explainPlacement(estate, `${namespace}/${name}`);
  if (!vm || !explanation)
    throw new UserError(
      `there is no machine ${JSON.stringify(name)} in the namespace ${namespace}; vireo get vm -A lists them`,
    );
  print(`vm/${name}  ${describeMachine(vm)}`);
  if (vm.status?.why) print(`why       ${vm.status.why}`);
  const policies = explanation.policies.map((policy) => `${policy.name} (${policy.goal})`);
  print(`policies  ${policies.join(", ") || "none; balanced"}`);
  print("hosts     as they would be judged now, the best first:");
  for (const host of explanation.hosts)
    print(`  ${host.chosen ? "*" : " "} ${host.name.padEnd(12)} ${host.verdict}`);
}
