/**
 * Pure questions about the instances of one machine; the rules are in kinds.ts's header. "Live" means: not Released, so it
 * may hold the disks, or come to hold them.
 */
import { hadCustody, type Instance, type VirtualMachine } from "./kinds.ts";
import { isFinal, type Migration } from "./migrations/kinds.ts";

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

/** The host that has the machine's disks, when hosts do not share them; undefined when none were made yet. In any order. */
export const hostOfDisks = (instances: readonly Instance[]): string | undefined =>
  instances
    .filter((instance) => isBound(instance) && hadCustody(instance))
    .sort((a, b) => numberOf(b) - numberOf(a))[0]?.spec.host;

/** Whether it moved away with its disks, and what is left of them on its host is of no use to anybody. */
export const leftDisksBehind = (instance: Instance, instances: readonly Instance[]): boolean =>
  instance.status?.phase === "HandedOver" &&
  instances.some(
    (target) =>
      target.spec.copyDisks !== undefined &&
      target.spec.predecessor === instance.metadata.name &&
      instance.status?.migration?.to === target.metadata.name &&
      target.spec.host !== instance.spec.host &&
      hadCustody(target),
  );

/** The instance that is the machine now: the one with custody, else the newest live one. */
export function currentOf(instances: readonly Instance[]): Instance | undefined {
  return instances.findLast(isHeld) ?? instances.findLast(isLive);
}

/**
 * Instances that nothing needs any more. The newest bound one that had custody is kept as long as the machine exists, although it has ended: it
 * says on which host the volumes were used last, and its agent destroys them when the machine is deleted. An older one goes
 * as soon as a newer one has, or had, custody; a target that never had it as soon as its migration is over.
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
      (other) =>
        (numberOf(other) > numberOf(instance) || !hadCustody(instance)) &&
        other !== instance &&
        isBound(other) &&
        !other.metadata.deletionTimestamp &&
        hadCustody(other),
    );
  });
}
