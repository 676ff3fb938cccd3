/** `vireo explain vm/NAME`: the director's own judgement on the estate as it is now, host by host. */
import { VirtualMachine } from "../compute/kinds.ts";
import { explain as explainPlacement } from "../director/explain.ts";
import { readEstate } from "../director/snapshot.ts";
import { connectTo } from "./connect.ts";
import type { StatePaths } from "./paths.ts";
import { UserError } from "./user-error.ts";
import { describeMachine } from "./watch-vms.ts";

/** @throws UserError when there is no such machine */
export async function explain(
  paths: StatePaths,
  what: string,
  namespace: string,
  print: (line: string) => void,
): Promise<void> {
  const name = /^(?:vm|virtualmachine)s?\/(.+)$/.exec(what)?.[1];
  if (!name) throw new UserError(`${JSON.stringify(what)} is not vm/NAME`);
  const client = connectTo(paths);
  const [vm, estate] = await Promise.all([
    client.get(VirtualMachine, { name, namespace }),
    readEstate(client),
  ]);
  const explanation = explainPlacement(estate, `${namespace}/${name}`);
  if (!vm || !explanation)
    throw new UserError(
      `there is no machine ${JSON.stringify(name)} in the namespace ${namespace}; kubectl get vm -A lists them`,
    );
  print(`vm/${name}  ${describeMachine(vm)}`);
  if (vm.status?.why) print(`why       ${vm.status.why}`);
  const policies = explanation.policies.map((policy) => `${policy.name} (${policy.goal})`);
  print(`policies  ${policies.join(", ") || "none; balanced"}`);
  print("hosts     as they would be judged now, the best first:");
  for (const host of explanation.hosts)
    print(`  ${host.chosen ? "*" : " "} ${host.name.padEnd(12)} ${host.verdict}`);
}
