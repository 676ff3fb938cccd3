/**
 * Quotas of a project (namespace): Kubernetes' own kind ResourceQuota (v1), counting virtual machines. Pure.
 *
 * What is used is what the machines that exist ask for in their specs, whether they run or not: a machine that was let in may always be
 * started again. Enforced in the turn of the write itself, on all machines of the namespace as they are then (admitVirtualMachine), never
 * by status.used, which the quota reconciler keeps for people. As in Kubernetes, a quota that is lowered below what is used takes nothing away.
 */
import { isDeepStrictEqual } from "node:util";
import { Type } from "typebox";
import { type Cause, invalidField } from "../resource/errors.ts";
import { invalidity } from "../resource/invalid.ts";
import { GROUP, type Kind, type Lookup } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { formatBytes, parseAmount, parseBytes, QuantityError } from "../resource/quantity.ts";
import { storageOf } from "./disks/checks.ts";
import { VirtualMachine } from "./kinds.ts";

const COUNT = `count/${VirtualMachine.plural}.${GROUP}`;
/** What can be limited, with what it is of one machine; undefined: the machine does not say. */
const COUNTED: Readonly<Record<string, (vm: VirtualMachine) => number | undefined>> = {
  [COUNT]: () => 1,
  "requests.cpu": ({ spec }) => spec.cpus,
  "requests.memory": ({ spec }) => parseBytes(spec.memory),
  "requests.storage": storageWithKept,
};
/** The field of a machine that has to be there when there is a limit. */
const FIELD: Readonly<Record<string, string>> = {
  "requests.storage": "spec.diskSize, and size of each of spec.disks",
};
const IN_BYTES: readonly string[] = ["requests.memory", "requests.storage"];

export type Amounts = Record<string, string | number>;
export type ResourceQuota = Resource<{ hard?: Amounts }, { hard?: Amounts; used?: Amounts }> & {
  spec: { hard?: Amounts };
};

const amounts = (description: string) =>
  Type.Optional(
    Type.Record(Type.String(), Type.Unsafe<string | number>({ "x-kubernetes-int-or-string": true }), {
      description,
    }),
  );

export const ResourceQuota: Kind<ResourceQuota> = {
  group: "",
  version: "v1",
  kind: "ResourceQuota",
  plural: "resourcequotas",
  singular: "resourcequota",
  shortNames: ["quota"],
  categories: [],
  namespaced: true,
  schema: Type.Object(
    {
      spec: Type.Object({
        hard: amounts(`The most of each that a namespace may have: ${Object.keys(COUNTED).join(", ")}.`),
      }),
      // Owner: the quota reconciler.
      status: Type.Optional(
        Type.Object({
          hard: amounts("The limits that used was held against."),
          used: amounts("What is used."),
        }),
      ),
    },
    { description: "ResourceQuota limits what the machines of a namespace may ask for in all." },
  ),
  hasStatus: true,
  columns: [
    { name: "Request", type: "string", jsonPath: ".status", text: requestColumn },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
  selectableFields: [],
};

/** "requests.cpu: 3/4, requests.memory: 1Gi/2Gi", as Kubernetes has it. */
function requestColumn({ status }: ResourceQuota): string {
  return Object.keys(status?.hard ?? {})
    .sort()
    .map((name) => `${name}: ${status?.used?.[name] ?? 0}/${status?.hard?.[name]}`)
    .join(", ");
}

export function checkResourceQuota({ spec }: ResourceQuota): Cause[] {
  return Object.entries(spec.hard ?? {}).flatMap(([name, value]): Cause[] => {
    const field = `spec.hard[${name.slice(0, 100)}]`;
    if (!Object.hasOwn(COUNTED, name))
      return [
        {
          field,
          reason: "FieldValueNotSupported",
          message: `Unsupported value: ${JSON.stringify(name.slice(0, 100))}: supported values: ${Object.keys(
            COUNTED,
          )
            .map((known) => JSON.stringify(known))
            .join(", ")}`,
        },
      ];
    try {
      parseAmount(value);
      return [];
    } catch (error) {
      if (!(error instanceof QuantityError)) throw error;
      return [invalidField(field, error.message)];
    }
  });
}

/** Also of data disks that were taken out of spec: they are kept, and take their room until the machine is deleted. */
function storageWithKept({ spec, status }: VirtualMachine): number | undefined {
  const asked = storageOf(spec);
  if (asked === undefined) return undefined;
  const isAsked = (name: string) => spec.disks?.some((disk) => disk.name === name) ?? false;
  const kept = (status?.disks ?? []).filter(({ name, made }) => made && !isAsked(name));
  return kept.reduce((all, { size }) => all + (size === undefined ? 0 : parseBytes(size)), asked);
}

/** What one machine uses of a resource. One that is not of its kind's shape is a machine, of which no more is known. */
function usedBy(name: string, vm: VirtualMachine): number | undefined {
  if (name !== COUNT && invalidity(vm) !== undefined) return 0;
  return COUNTED[name]?.(vm);
}

const sum = (name: string, vms: readonly VirtualMachine[]) =>
  vms.reduce((all, vm) => all + (usedBy(name, vm) ?? 0), 0);

const shown = (name: string, value: number) =>
  IN_BYTES.includes(name) && value > 0 ? formatBytes(value) : String(value);

/** Whether a change of a machine changes what is used. */
export const usesOtherwise = (now: VirtualMachine | undefined, old: VirtualMachine | undefined): boolean =>
  Object.keys(COUNTED).some((name) => (now && usedBy(name, now)) !== (old && usedBy(name, old)));

/** What the quota says of itself when these are all machines of its namespace. */
export function quotaStatus(
  { spec }: ResourceQuota,
  vms: readonly VirtualMachine[],
): ResourceQuota["status"] {
  const hard = spec.hard ?? {};
  const used = Object.keys(hard).map((name) => [name, shown(name, sum(name, vms))]);
  return { hard, used: Object.fromEntries(used) };
}

/** Why the namespace's quotas do not let a machine be as it is to be, in Kubernetes' words; undefined when they do. */
export function admitVirtualMachine(
  object: VirtualMachine,
  old: VirtualMachine | undefined,
  lookup: Lookup,
): string | undefined {
  // Most writes ask for no more than before, and need not look at anything.
  if (old && isDeepStrictEqual(object.spec, old.spec)) return undefined;
  const raised = Object.keys(COUNTED).filter((name) => {
    const [now, before] = [usedBy(name, object), old && usedBy(name, old)];
    return now === undefined ? before !== undefined || !old : now > (before ?? 0);
  });
  if (raised.length === 0) return undefined;
  const { namespace, name } = object.metadata;
  const quotas = lookup.list(ResourceQuota, namespace);
  if (quotas.length === 0) return undefined;
  const others = lookup.list(VirtualMachine, namespace).filter(({ metadata }) => metadata.name !== name);
  for (const { metadata, spec } of quotas) {
    const limits = Object.entries(spec.hard ?? {}).filter(([resource]) => raised.includes(resource));
    const unsaid = limits.map(([resource]) => resource).find((each) => usedBy(each, object) === undefined);
    if (unsaid) return `failed quota: ${metadata.name}: must specify ${unsaid} (${FIELD[unsaid] ?? ""})`;
    const over = limits.filter(
      ([resource, hard]) => sum(resource, others) + (usedBy(resource, object) ?? 0) > limitOf(hard),
    );
    if (over.length === 0) continue;
    const list = (value: (resource: string) => string) =>
      over.map(([resource]) => `${resource}=${value(resource)}`).join(",");
    const before = (resource: string) => (old ? (usedBy(resource, old) ?? 0) : 0);
    const requested = list((each) => shown(each, (usedBy(each, object) ?? 0) - before(each)));
    const used = list((each) => shown(each, sum(each, others) + before(each)));
    const limited = list((each) => String(spec.hard?.[each]));
    return `exceeded quota: ${metadata.name}, requested: ${requested}, used: ${used}, limited: ${limited}`;
  }
  return undefined;
}

/** A limit that cannot be read (an object that was stored before it was checked) limits nothing more than others do. */
function limitOf(hard: string | number): number {
  try {
    return parseAmount(hard);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
