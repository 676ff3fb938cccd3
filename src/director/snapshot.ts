/** Reads the estate fresh from the API: what decides must not decide on old news. */
import type { Client } from "../client/client.ts";
import { Host, Instance, VirtualMachine } from "../compute/kinds.ts";
import { type Estate, makeEstate } from "./estate.ts";
import { Policy } from "./kinds.ts";

export async function readEstate(client: Client): Promise<Estate> {
  const [hosts, machines, instances, policies] = await Promise.all([
    client.list(Host),
    client.list(VirtualMachine),
    client.list(Instance),
    client.list(Policy),
  ]);
  return makeEstate({
    hosts: hosts.items,
    machines: machines.items,
    instances: instances.items,
    policies: policies.items,
  });
}
