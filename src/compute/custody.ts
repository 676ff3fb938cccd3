/**
 * Pure questions about the instances of one machine; the rules are in kinds.ts's header. "Live" means: not Released, so it
 * may hold the disks, or come to hold them.
 */
import type { Instance, VirtualMachine } from "./kinds.ts";
import type { Migration } from "./migrations/kinds.ts";

/** The number at the end of an instance's name. */
export function numberOf(instance: { metadata: { name: string } }): number {
  return Number(/-(\d+)$/.exec(instance.metadata.name)?.[1] ?? 0);
}

export function instanceName(vm: string, sequence: number): string {
  return `${vm}-${sequence}`;
}

/** The instances of this very machine (not of an older one of the same name), oldest first. */
export function instancesOf(vm: VirtualMachine, instances: readonly Instance[]): Instance[] {
  return instances
    .filter(
      (i) =>
        i.spec.vmUid === vm.metadata.uid && (i.metadata.namespace ?? "") === (vm.metadata.namespace ?? ""),
    )
    .sort((a, b) => numberOf(a) - numberOf(b));
}

type WithCustody = { status?: Instance["status"] | undefined };
export const isReleased = ({ status }: WithCustody): boolean => status?.custody === "Released";
export const isLive = (instance: WithCustody): boolean => !isReleased(instance);
export const isHeld = (instance: Instance): boolean => instance.status?.custody === "Held";
export const isBound = (instance: Instance): boolean => Boolean(instance.spec.host);

/** The instance that is the machine now: the one with custody, else the newest live one. */
export function currentOf(instances: readonly Instance[]): Instance | undefined {
  return instances.findLast(isHeld) ?? instances.findLast(isLive);
}

const FINAL = ["Succeeded", "Failed", "Cancelled"];

export function isFinal(migration: Migration): boolean {
  return FINAL.includes(migration.status?.phase ?? "");
}

/** A migration that has touched instances, or may at any moment. */
export function isUnderWay(migration: Migration): boolean {
  return migration.status?.source !== undefined && !isFinal(migration);
}

/**
 * Instances that nothing needs any more. The newest bound one is kept as long as the machine exists, although it has ended: it
 * says on which host the volumes were used last, and its agent destroys them when the machine is deleted. An older one goes
 * as soon as a newer one has, or had, custody.
 */
export function superseded(instances: readonly Instance[], migrations: readonly Migration[]): Instance[] {
  const needed = new Set(
    migrations.filter((m) => !isFinal(m)).flatMap((m) => [m.status?.source, m.status?.target]),
  );
  return instances.filter((instance) => {
    if (!isReleased(instance) || instance.metadata.deletionTimestamp) return false;
    if (!isBound(instance)) return true;
    if (needed.has(instance.metadata.name)) return false;
    return instances.some(
      (newer) =>
        numberOf(newer) > numberOf(instance) &&
        isBound(newer) &&
        !newer.metadata.deletionTimestamp &&
        (isHeld(newer) || isReleased(newer)),
    );
  });
}
