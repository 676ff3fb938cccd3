/** What is looked at to tell which hosts are to be on. */
import type { Host } from "../../compute/hosts/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { Estate } from "../estate/estate.ts";
import type { Ahead } from "./room.ts";

export interface PowerInput {
  estate: Estate;
  hosts: readonly Host[];
  policies: readonly PowerPolicy[];
  /** Names of PowerPolicies that do not have the shape of their kind: nobody knows which hosts they choose. */
  unread: readonly string[];
  /** Keys of machines that are to run and have no host. */
  waiting: readonly string[];
  /** Hosts that plans which are under way move machines to. */
  expected: ReadonlySet<string>;
  now: number;
  /** Boot ids of the machines that control planes run on. */
  controlPlanes: ReadonlySet<string>;
  /** What is forecast until so long from now (demand.ts). */
  ahead?: Ahead | undefined;
}

/** Why nobody knows who has the say over hosts of this policy, or of none; undefined: it is known. */
export function unsureOf({ unread }: PowerInput, policy: PowerPolicy | undefined): string | undefined {
  const odd = unread.find((name) => !policy || name < policy.metadata.name);
  return odd === undefined
    ? undefined
    : `PowerPolicy ${odd} cannot be read, and may have the say over it; mend or delete it`;
}
