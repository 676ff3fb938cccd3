/** All kinds with their rules, in one list: what the server serves. */
import { keepDefault, Namespace } from "./api/namespaces.ts";
import { RBAC_KINDS } from "./api/rbac-kinds.ts";
import { Secret } from "./api/secrets.ts";
import {
  checkInstance,
  checkMigration,
  checkNetwork,
  checkStoragePool,
  checkVirtualMachine,
} from "./compute/checks.ts";
import { GuestCommand } from "./compute/guest-commands/kinds.ts";
import { Host } from "./compute/hosts/kinds.ts";
import {
  keepHost,
  keepImage,
  keepNetwork,
  keepProject,
  keepSnapshot,
  keepStoragePool,
  keepVirtualMachine,
} from "./compute/in-use.ts";
import { Instance, VirtualMachine } from "./compute/kinds.ts";
import { Migration } from "./compute/migrations/kinds.ts";
import { Network } from "./compute/networks/kinds.ts";
import { admitVirtualMachine, checkResourceQuota, ResourceQuota } from "./compute/quota.ts";
import { Rollback, Snapshot } from "./compute/snapshots/kinds.ts";
import { StoragePool } from "./compute/storage/kinds.ts";
import { checkPlan, checkPolicy, warnPolicy } from "./director/checks.ts";
import { UsageHistory } from "./director/estate/usage-history.ts";
import { checkFailover } from "./director/failover/failover-word.ts";
import { Policy } from "./director/kinds.ts";
import { Plan } from "./director/planning/kinds.ts";
import { checkWakeTest, warnWakeTest } from "./director/planning/window-checks.ts";
import { checkRules } from "./director/rules/last-word.ts";
import { checkOvercommit } from "./director/rules/overcommit-word.ts";
import { checkSite, Site } from "./director/sites.ts";
import { checkImage, checkImageBuild } from "./images/checks.ts";
import { Distribution, Image, ImageBuild } from "./images/kinds.ts";
import { checkHostPower, checkHostWatts } from "./power/checks.ts";
import { PowerPolicy } from "./power/policies/kinds.ts";
import { checkEvent, Event, Lease } from "./reconcile/kinds.ts";
import { type Kind, register } from "./resource/kind.ts";

export const KINDS: readonly Kind[] = [
  register(Namespace, {
    admitDelete: (object, lookup) => keepDefault(object) ?? keepProject(object, lookup),
  }),
  register(VirtualMachine, {
    check: checkVirtualMachine,
    admit: admitVirtualMachine,
    admitDelete: keepVirtualMachine,
  }),
  register(Instance, {
    check: (object, old, lookup) => [
      ...checkInstance(object, old, lookup),
      ...checkRules(object, old, lookup),
      ...checkOvercommit(object, old, lookup),
      ...checkFailover(object, old, lookup),
    ],
  }),
  register(Migration, { check: checkMigration }),
  register(Snapshot, { admitDelete: keepSnapshot }),
  register(Rollback),
  register(GuestCommand),
  register(Image, { check: checkImage, admitDelete: keepImage }),
  register(ImageBuild, { check: checkImageBuild }),
  register(Distribution),
  register(Host, {
    check: (object, old, lookup) => [
      ...checkHostWatts(object),
      ...checkWakeTest(object),
      ...checkHostPower(object, old, lookup),
    ],
    warn: warnWakeTest,
    admitDelete: keepHost,
  }),
  register(Network, { check: checkNetwork, admitDelete: keepNetwork }),
  register(StoragePool, { check: checkStoragePool, admitDelete: keepStoragePool }),
  register(Policy, { check: checkPolicy, warn: warnPolicy }),
  register(Plan, { check: checkPlan }),
  register(UsageHistory),
  register(PowerPolicy),
  register(Site, { check: checkSite }),
  register(Lease),
  register(Event, { check: checkEvent }),
  register(ResourceQuota, { check: checkResourceQuota }),
  Secret,
  ...RBAC_KINDS,
];
