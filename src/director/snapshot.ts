/** Reads the estate fresh from the API: what decides must not decide on old news. */
import type { Client, List } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { Migration } from "../compute/migrations/kinds.ts";
import { type Estate, makeEstate, type Unread } from "./estate.ts";
import { Policy } from "./kinds.ts";

const unread = (kind: string, { skipped }: List<unknown>): Unread[] =>
  skipped.map((metadata) => ({ kind, metadata }));

export async function readEstate(client: Client): Promise<Estate> {
  const [hosts, machines, instances, policies, migrations] = await Promise.all([
    client.list(Host),
    client.list(VirtualMachine),
    client.list(Instance),
    client.list(Policy),
    client.list(Migration),
  ]);
  return makeEstate({
    hosts: hosts.items,
    machines: machines.items,
    instances: instances.items,
    policies: policies.items,
    migrations: migrations.items,
    unread: [
      ...unread("Host", hosts),
      ...unread("VirtualMachine", machines),
      ...unread("Instance", instances),
      ...unread("Policy", policies),
    ],
  });
}
