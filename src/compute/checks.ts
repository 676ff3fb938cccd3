/**
 * Rules of this room's kinds that a schema cannot say. Pure: they see the object, the old one and a look-up of others. Among those
 * others may be some that are not of their kind's shape (resource/invalid.ts): they must neither break a rule for all, nor be taken
 * for absent where that would give away disks or addresses.
 */
import { isDeepStrictEqual } from "node:util";
import { heldForPower } from "../power/kinds.ts";
import { type Cause, forbiddenField, invalidValue } from "../resource/errors.ts";
import { invalidity } from "../resource/invalid.ts";
import type { Lookup } from "../resource/kind.ts";
import { parseBytes } from "../resource/quantity.ts";
import { numberToAddress, parseSubnet, vniOf } from "../resource/subnet.ts";
import { checkBoot } from "./boot/kinds.ts";
import { lackOfRoom } from "./capacity.ts";
import { unlike } from "./clones/unlike.ts";
import { checkDisks } from "./disks/checks.ts";
import { checkHardware } from "./hardware/kinds.ts";
import { Host } from "./hosts/kinds.ts";
import { checkNetworkLimits } from "./interfaces.ts";
import { Instance, VirtualMachine } from "./kinds.ts";
import type { Migration } from "./migrations/kinds.ts";
import { type Network, Network as NetworkKind } from "./networks/kinds.ts";
import { checkResources, keptOf } from "./resources/kinds.ts";
import { Snapshot } from "./snapshots/kinds.ts";
import { type StoragePool, StoragePool as StoragePoolKind } from "./storage/kinds.ts";

/** Room for "-" and the number that make an instance's name, which has to be a label, too. */
const MAX_VM_NAME = 52;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** Fields of spec, or of what is `at` another place, that must stay as they were. */
function immutable<S extends object>(
  spec: S,
  old: S,
  fields: readonly (keyof S & string)[],
  hint: string,
  at = "spec",
): Cause[] {
  return fields
    .filter((field) => !isDeepStrictEqual(spec[field], old[field]))
    .map((field) => invalidValue(`${at}.${field}`, spec[field], `field is immutable; ${hint}`));
}

/** The server's part in the chain of custody (kinds.ts): what a late or confused component must not be able to write. */
export function checkInstance(object: Instance, old: Instance | undefined, lookup: Lookup): Cause[] {
  const { metadata, spec } = object;
  if (!old) {
    if (!metadata.resourceVersion) return [...checkNewInstance(object, lookup), ...checkRoom(object, lookup)];
    // One with a version was stored in no instance's shape, and is mended: that it may exist was decided when it was made.
    if (!metadata.name.startsWith(`${spec.vm}-`))
      return [invalidValue("spec.vm", spec.vm, `is not the machine of an instance called ${metadata.name}`)];
    return object.status?.custody === "Held" ? checkTakingCustody(object, lookup) : [];
  }
  const causes = immutable(
    spec,
    old.spec,
    [
      "vm",
      "vmUid",
      "predecessor",
      "incoming",
      "copyDisks",
      "disksOn",
      "user",
      "has",
      "maxCpus",
      "maxMemory",
      "image",
      "storagePool",
      "hardware",
      "bootOrder",
      "generationId",
      "machineType",
      "guest",
      "discardMemory",
      "resumes",
    ],
    "a run never changes under itself",
  );
  if (!isDeepStrictEqual(keptOf(spec.resources), keptOf(old.spec.resources)))
    causes.push(invalidValue("spec.resources", spec.resources, "a run keeps what of its host is its own"));
  // Chosen with the host.
  if (old.spec.guestCpu || old.spec.host)
    causes.push(...immutable(spec, old.spec, ["guestCpu"], "a run never changes under itself"));
  if (spec.host !== old.spec.host) {
    if (old.spec.host) {
      if (!spec.host || !isOverOnGoneHost(old, lookup))
        causes.push(invalidValue("spec.host", spec.host, "field is immutable once set"));
    } else if (old.status?.custody === "Released" || metadata.deletionTimestamp)
      causes.push(
        forbiddenField("spec.host", "this instance is over; it cannot be bound to a host any more"),
      );
    else causes.push(...checkRoom(object, lookup));
  }
  const grows = spec.cpus > old.spec.cpus || parseBytes(spec.memory) > parseBytes(old.spec.memory);
  if (grows && spec.host === old.spec.host) causes.push(...checkRoom(object, lookup, "spec.memory"));
  if (spec.running && !old.spec.running)
    causes.push(
      forbiddenField(
        "spec.running",
        "a run that was asked to stop is not asked back; a new instance follows it",
      ),
    );
  const [custody, before] = [object.status?.custody, old.status?.custody];
  if (before === "Released" && custody !== "Released")
    causes.push(forbiddenField("status.custody", "Released is for ever"));
  if (custody === "Held" && before !== "Held") causes.push(...checkTakingCustody(object, lookup));
  return causes;
}

/** Nothing of it is left but its disks, which another host is to destroy (gone-hosts.ts). */
const isOverOnGoneHost = ({ metadata, spec, status }: Instance, lookup: Lookup): boolean =>
  metadata.deletionTimestamp !== undefined &&
  status?.custody === "Released" &&
  !lookup.list(Host).some((host) => host.metadata.name === spec.host);

/** The last word on capacity: whoever binds (director, migrations, two leaders for a moment) has looked at an estate that may be old by now. */
function checkRoom({ spec }: Instance, lookup: Lookup, field = "spec.host"): Cause[] {
  if (!spec.host) return [];
  const host = lookup.list(Host).find(({ metadata }) => metadata.name === spec.host);
  if (!host) return [];
  const odd = invalidity(host);
  // Neither its room nor whom it is for can be read. What runs there already may grow: that it may be there was decided before.
  if (odd)
    return field === "spec.host"
      ? [
          forbiddenField(
            field,
            `host ${spec.host} takes no machines: it is stored in a shape that cannot be read (${odd}); kubectl edit host ${spec.host} mends it`,
          ),
        ]
      : [];
  const held = heldForPower(host);
  if (held && field === "spec.host")
    return [forbiddenField(field, `host ${spec.host} takes no machines: ${held}`)];
  const why = lackOfRoom(host, spec, lookup.list(Instance));
  return why ? [forbiddenField(field, why)] : [];
}

function checkTakingCustody({ metadata, spec }: Instance, lookup: Lookup): Cause[] {
  // All that can be of the machine are called by it (checkInstance): those of the rest of the estate are not looked through.
  const holder = lookup
    .list(Instance, metadata.namespace, `${spec.vm}-`)
    .find(
      (other) =>
        isOfMachine(other, spec.vmUid) &&
        other.metadata.name !== metadata.name &&
        (other.status?.custody === "Held" ||
          (other.status?.custody !== "Released" &&
            (other.metadata.name === spec.predecessor || invalidity(other) !== undefined))),
    );
  if (!holder) return [];
  return [
    forbiddenField("status.custody", `instance ${holder.metadata.name} has not released the machine's disks`),
  ];
}

/** An instance that is not of its kind's shape may have lost its spec; its owner tells whose it is. */
function isOfMachine({ metadata, spec }: Partial<Instance>, vmUid: string): boolean {
  return spec?.vmUid === vmUid || Boolean(metadata?.ownerReferences?.some(({ uid }) => uid === vmUid));
}

function checkNewInstance({ metadata, spec }: Instance, lookup: Lookup): Cause[] {
  const vm = lookup
    .list(VirtualMachine, metadata.namespace, spec.vm)
    .find((o) => o.metadata.name === spec.vm);
  if (!vm || vm.metadata.uid !== spec.vmUid)
    return [invalidValue("spec.vmUid", spec.vmUid, `there is no VirtualMachine ${spec.vm} with this uid`)];
  if (vm.metadata.deletionTimestamp)
    return [forbiddenField("spec.vm", `VirtualMachine ${spec.vm} is being deleted`)];
  const busy = vm.status?.disksBusy;
  if (busy)
    return [
      forbiddenField(
        "spec.vm",
        `the disks of ${spec.vm} are being worked on (${busy.action} of ${busy.name})`,
      ),
    ];
  const wanted = `${spec.vm}-${vm.status?.sequence ?? 0}`;
  if (metadata.name !== wanted)
    return [
      invalidValue(
        "metadata.name",
        metadata.name,
        `the newest instance of this machine is called ${wanted} (status.sequence)`,
      ),
    ];
  return [];
}

/** Networks are apart: no address may be in two of them, and a change would take machines' addresses away. */
export function checkNetwork(network: Network, old: Network | undefined, lookup: Lookup): Cause[] {
  const { subnet, vni } = network.spec;
  // They never change (kinds.ts).
  if (old) return [];
  const { name, resourceVersion } = network.metadata;
  // One with a version was stored in no network's shape, and is mended.
  if (!resourceVersion && !LABEL.test(name))
    return [
      invalidValue(
        "metadata.name",
        name,
        "must be a label of lower-case letters, digits and '-': machines name no other in spec.networks",
      ),
    ];
  const { base, prefixLength } = parseSubnet(subnet);
  const parts = subnet.split(/[./]/).map(Number);
  if (parts.slice(0, 4).some((part) => part > 255))
    return [invalidValue("spec.subnet", subnet, "each of the four numbers must be at most 255")];
  if (prefixLength < 8 || prefixLength > 29)
    return [invalidValue("spec.subnet", subnet, "the prefix length must be from 8 to 29")];
  const size = 2 ** (32 - prefixLength);
  if (base % size !== 0)
    return [
      invalidValue(
        "spec.subnet",
        subnet,
        `has host bits set; write ${numberToAddress(base - (base % size))}/${prefixLength}`,
      ),
    ];
  const causes: Cause[] = [];
  for (const other of lookup.list(NetworkKind)) {
    if (other.metadata.name === network.metadata.name || invalidity(other)) continue;
    const there = parseSubnet(other.spec.subnet);
    if (base < there.base + 2 ** (32 - there.prefixLength) && there.base < base + size)
      causes.push(
        invalidValue(
          "spec.subnet",
          subnet,
          `overlaps ${other.spec.subnet} of the network ${JSON.stringify(other.metadata.name)}`,
        ),
      );
    if (vniOf(other.spec) === vniOf(network.spec))
      causes.push(
        invalidValue(
          "spec.vni",
          vni ?? vniOf(network.spec),
          `is the identifier of the network ${JSON.stringify(other.metadata.name)}; set another one`,
        ),
      );
  }
  return causes;
}

export function checkStoragePool(pool: StoragePool, old: StoragePool | undefined, lookup: Lookup): Cause[] {
  const { path } = pool.spec.directory;
  // It never changes (kinds.ts).
  if (old) return [];
  if (path.split("/").some((part, i) => (i > 0 && part === "") || part === "." || part === ".."))
    return [
      invalidValue(
        "spec.directory.path",
        path,
        'must be a normalised absolute path, without "..", "//" or a slash at its end',
      ),
    ];
  const other = lookup
    .list(StoragePoolKind)
    .find((p) => p.metadata.name !== pool.metadata.name && !invalidity(p) && p.spec.directory.path === path);
  return other
    ? [
        invalidValue(
          "spec.directory.path",
          path,
          `is the path of the pool ${JSON.stringify(other.metadata.name)}`,
        ),
      ]
    : [];
}

export function checkVirtualMachine(
  object: VirtualMachine,
  old: VirtualMachine | undefined,
  lookup: Lookup,
): Cause[] {
  const { metadata } = object;
  const causes: Cause[] = [];
  if (!old && (metadata.name.length > MAX_VM_NAME || !LABEL.test(metadata.name)))
    causes.push(
      invalidValue(
        "metadata.name",
        metadata.name,
        `must be a label of at most ${MAX_VM_NAME} lower-case letters, digits and '-', because it is the guest's host name and the start of its instances' names`,
      ),
    );
  const asked = ({ disks, ...spec }: VirtualMachine["spec"]) => [
    spec.hardware,
    spec.cpus,
    spec.networks,
    disks?.length,
    spec.cdDrives?.length,
    [spec.memory, spec.maxCpus, spec.maxMemory, spec.memoryTarget, spec.resources, spec.onPanic],
  ];
  if (!old || !isDeepStrictEqual(asked(object.spec), asked(old.spec)))
    causes.push(...checkHardware(object.spec));
  causes.push(...checkBoot(object.spec));
  const shares = ({ resources, memory }: VirtualMachine["spec"]) => [resources, memory];
  if (!old || !isDeepStrictEqual(shares(object.spec), shares(old.spec)))
    causes.push(...checkResources(object.spec));
  causes.push(...checkNetworkLimits(object.spec));
  const begun = Boolean(object.status?.sequence);
  causes.push(...checkDisks(object.spec, old?.spec, begun, object.status?.disks));
  if (old)
    causes.push(
      ...checkChange(object, old),
      ...checkInterfaces(object, old, lookup),
      ...checkUser(object, old, lookup),
    );
  else causes.push(...checkSource(object, lookup));
  return causes;
}

function checkChange({ spec, status }: VirtualMachine, { spec: old }: VirtualMachine): Cause[] {
  // Before the first run there is no disk yet: a mistyped image may be put right.
  if (!status?.sequence) return [];
  const hint = "the machine's disks were made from it; create another machine";
  return [
    ...immutable(spec, old, ["image", "storagePool"], hint),
    ...immutable(
      spec.guest ?? {},
      old.guest ?? {},
      ["sshAuthorizedKeys", "userData"],
      "a guest is told it at its first boot alone; change it in the guest (vireo exec), or create another machine",
      "spec.guest",
    ),
  ];
}

/** What a clone is made from may be made later; what is there already has to fit. */
function checkSource(vm: VirtualMachine, lookup: Lookup): Cause[] {
  const { source } = vm.spec;
  if (!source) return [];
  const { namespace, name } = vm.metadata;
  const snapshot = lookup.list(Snapshot, namespace).find(({ metadata }) => metadata.name === source.snapshot);
  const from = source.vm ?? (snapshot && !invalidity(snapshot) ? snapshot.spec.vm : undefined);
  if (from === name) return [invalidValue("spec.source.vm", from, "a machine cannot be a clone of itself")];
  const owner = lookup.list(VirtualMachine, namespace).find(({ metadata }) => metadata.name === from);
  if (!owner || invalidity(owner)) return [];
  if (owner.metadata.deletionTimestamp)
    return [forbiddenField("spec.source", `VirtualMachine ${from} is being deleted`)];
  if (snapshot?.metadata.deletionTimestamp)
    return [forbiddenField("spec.source", `Snapshot ${source.snapshot} is being deleted`)];
  const [, field, why] = /^(spec\.\w+): (.*)$/.exec(unlike(vm, owner) ?? "") ?? [];
  return field && why ? [forbiddenField(field, why)] : [];
}

/** The last word on addresses: two control planes that both believe to lead cannot give one address twice. */
function checkInterfaces(object: VirtualMachine, old: VirtualMachine, lookup: Lookup): Cause[] {
  const interfaces = object.status?.interfaces ?? [];
  if (isDeepStrictEqual(interfaces, old.status?.interfaces ?? [])) return [];
  const uses = new Map<string, string>();
  for (const other of lookup.list(VirtualMachine))
    if (other.metadata.uid !== object.metadata.uid)
      for (const { network, mac, address } of interfacesOf(other)) {
        uses.set(mac, other.metadata.name);
        uses.set(`${network} ${address}`, other.metadata.name);
      }
  return interfaces.flatMap(({ network, mac, address }, index) => {
    const user = uses.get(mac) ?? uses.get(`${network} ${address}`);
    return user
      ? [invalidValue(`status.interfaces[${index}]`, address, `machine ${user} has this address`)]
      : [];
  });
}

/** As with addresses: no two machines have one user. */
function checkUser({ metadata, status }: VirtualMachine, old: VirtualMachine, lookup: Lookup): Cause[] {
  const user = status?.user;
  if (user === undefined || user === old.status?.user) return [];
  const other = lookup
    .list(VirtualMachine)
    .find((each) => each.metadata.uid !== metadata.uid && each.status?.user === user);
  return other ? [invalidValue("status.user", user, `machine ${other.metadata.name} has this user`)] : [];
}

/** Also of a machine that is not of its kind's shape: what it has of addresses stays its own. */
function interfacesOf({ status }: VirtualMachine) {
  const found: unknown = status?.interfaces;
  if (!Array.isArray(found)) return [];
  return (status?.interfaces ?? []).filter((each) => typeof each === "object" && each !== null);
}

/** A mistyped host is told at once. One that goes, or cannot take the machine, is told by what becomes of the Migration. */
export function checkMigration({ spec }: Migration, old: Migration | undefined, lookup: Lookup): Cause[] {
  const { to } = spec;
  if (old || to === undefined || lookup.list(Host).some(({ metadata }) => metadata.name === to)) return [];
  return [invalidValue("spec.to", to, "there is no such host; kubectl get hosts lists those that there are")];
}
