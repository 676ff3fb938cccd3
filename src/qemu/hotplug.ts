/**
 * Disks and networks that come and go while the guest runs, and disks that grow, over QMP. What is there is asked of QEMU each time, so
 * that it can be cut short anywhere and done again.
 */
import { nodeNames } from "./block-nodes.ts";
import { type Hardware, TODAY } from "./board.ts";
import { type Cd, setMedium } from "./cd.ts";
import {
  blockdevs,
  type Disk,
  keyOf,
  macKey,
  type Nic,
  netdev,
  pciNic,
  portBus,
  throttleGroup,
  virtioDisk,
} from "./devices.ts";
import {
  type Amounts,
  adjustBalloon,
  adjustCpus,
  adjustModules,
  amounts,
  type WantedMemory,
} from "./hot-memory.ts";
import { isFields, type Qmp, QmpError } from "./qmp.ts";
import { setLimits } from "./throttle.ts";
import { deviceIds, letGo, quietly } from "./unplug.ts";

/** What a machine is to have. Of disks and networks without a port only limits and sizes change. */
export interface Wanted {
  hardware?: Hardware;
  /** Undefined: CPUs and memory stay as they are. */
  amounts?: WantedMemory;
  disks: readonly (Disk & { sizeBytes?: number })[];
  nics: readonly Nic[];
  /** Of drives, only what is in them changes. `lacking`: why what is to be in it cannot be had. */
  cds?: readonly (Cd & { lacking?: string })[];
}

export interface Present extends Amounts {
  /** Data disks that the guest has now, by name. */
  disks: string[];
  /** Networks at a port that it has now, by MAC address without colons. */
  nics: string[];
}
export interface Adjusted extends Present {
  refused: Refusal[];
}
/** `disk`: by name, or "" for the system disk. `cd`: by name. `nic`: as in Adjusted. */
export interface Refusal {
  disk?: string;
  cd?: string;
  nic?: string;
  of?: "cpus" | "memory" | "memoryTarget";
  why: string;
}

const STAYS = "the guest has not let go of it yet; it is asked again and again";

/** Does what can be done; what cannot is told, and the rest is done all the same. @throws QmpError when QEMU does not answer */
export async function adjust(qmp: Qmp, wanted: Wanted): Promise<Adjusted> {
  const { hardware = TODAY } = wanted;
  const refused: Refusal[] = [];
  const attempt = async (of: Omit<Refusal, "why">, work: () => Promise<string | undefined>) => {
    try {
      const why = await work();
      if (why) refused.push({ ...of, why });
    } catch (error) {
      if (!(error instanceof QmpError) || ["Timeout", "Disconnected"].includes(error.errorClass)) throw error;
      refused.push({ ...of, why: `QEMU refused it: ${error.message}` });
    }
  };
  const [names, macs] = [
    new Set(wanted.disks.map(({ name }) => name)),
    new Set(wanted.nics.map(({ mac }) => macKey(mac))),
  ];
  const before = await atPorts(qmp);
  for (const disk of before.disks) if (!names.has(disk)) await attempt({ disk }, () => removeDisk(qmp, disk));
  for (const nic of before.nics) if (!macs.has(nic)) await attempt({ nic }, () => removeNic(qmp, nic));
  for (const disk of wanted.disks)
    if (disk.port !== undefined && disk.name !== undefined && !before.disks.includes(disk.name))
      await attempt({ disk: disk.name }, () => addDisk(qmp, hardware, disk));
  for (const nic of wanted.nics)
    if (nic.port !== undefined && !before.nics.includes(macKey(nic.mac)))
      await attempt({ nic: macKey(nic.mac) }, () => addNic(qmp, hardware, nic));
  const now = await atPorts(qmp);
  const sizes = await diskSizes(qmp);
  for (const [i, disk] of wanted.disks.entries()) {
    const { name = "", sizeBytes, limits } = disk;
    if (disk.name !== undefined && !now.disks.includes(name)) continue;
    const key = keyOf(disk, i);
    // Guests whose disks are of IDE are not told anything at their first boot: there is no seed.
    if (disk.name === undefined && !sizes.has(`drive${key}`)) continue;
    await attempt({ disk: name }, async () => {
      await setLimits(qmp, key, limits);
      if (sizeBytes === undefined || disk.readOnly || (sizes.get(`drive${key}`) ?? 0) >= sizeBytes) return;
      await qmp.execute("block_resize", { "node-name": `drive${key}`, size: sizeBytes });
    });
  }
  for (const cd of wanted.cds ?? [])
    await attempt({ cd: cd.name }, async () => cd.lacking ?? setMedium(qmp, cd));
  const { amounts: wants } = wanted;
  if (wants) {
    if (wants.hasRoom) {
      await attempt({ of: "cpus" }, () => adjustCpus(qmp, wants));
      await attempt({ of: "memory" }, () => adjustModules(qmp, wants));
    }
    await attempt({ of: "memoryTarget" }, () => adjustBalloon(qmp, wants));
  }
  return { ...now, ...(await amounts(qmp)), refused };
}

/** By the ids that we give (devices.ts). @throws QmpError */
export async function present(qmp: Qmp): Promise<Present> {
  return { ...(await atPorts(qmp)), ...(await amounts(qmp)) };
}

async function atPorts(qmp: Qmp): Promise<Pick<Present, "disks" | "nics">> {
  const ids = await deviceIds(qmp);
  const having = (prefix: string) =>
    ids.flatMap((id) => (id.startsWith(prefix) ? [id.slice(prefix.length)] : []));
  return { disks: having("disk-"), nics: having("nic").filter((key) => key.length === 12) };
}

async function addDisk(qmp: Qmp, hardware: Hardware, disk: Disk): Promise<undefined> {
  const { name = "", port = 0 } = disk;
  const key = keyOf(disk, 0);
  // Of an attempt that was cut short, or of one of this name that has gone.
  await dropNodes(qmp, key);
  await qmp.execute("object-add", throttleGroup(key, disk.limits));
  try {
    for (const node of blockdevs(disk, key)) await qmp.execute("blockdev-add", node);
    await qmp.execute("device_add", { ...virtioDisk(hardware, key, name, disk.readOnly), ...portBus(port) });
  } catch (error) {
    await dropNodes(qmp, key);
    throw error;
  }
}

async function removeDisk(qmp: Qmp, name: string): Promise<string | undefined> {
  if (!(await letGo(qmp, `disk-${name}`))) return STAYS;
  await dropNodes(qmp, `-${name}`);
}

/** Closes a disk that no device has any more, with its limits. */
async function dropNodes(qmp: Qmp, key: string): Promise<void> {
  const top = `drive${key}`;
  if ((await nodeNames(qmp)).includes(top)) await qmp.execute("blockdev-del", { "node-name": top });
  await dropLayers(qmp, `format${key}`);
  await quietly(qmp.execute("object-del", { id: `throttle${key}` }));
}

/** Layers that we opened ourselves, the first one and those of snapshots (snapshot.ts), stay open until we say so; of those that are in use QEMU lets go of none. */
async function dropLayers(qmp: Qmp, first: string): Promise<void> {
  for (;;) {
    const layers = (await nodeNames(qmp)).filter((name) => name.startsWith("layer-") || name === first);
    for (const layer of layers) await quietly(qmp.execute("blockdev-del", { "node-name": layer }));
    const left = await nodeNames(qmp);
    // One that went may have been what held the next.
    if (layers.every((name) => left.includes(name))) return;
  }
}

async function addNic(qmp: Qmp, hardware: Hardware, nic: Nic): Promise<undefined> {
  const key = macKey(nic.mac);
  await quietly(qmp.execute("netdev_del", { id: `net${key}` }));
  await qmp.execute("netdev_add", netdev(nic, key));
  try {
    await qmp.execute("device_add", { ...pciNic(hardware, nic, key), ...portBus(nic.port ?? 0) });
  } catch (error) {
    await quietly(qmp.execute("netdev_del", { id: `net${key}` }));
    throw error;
  }
}

async function removeNic(qmp: Qmp, key: string): Promise<string | undefined> {
  if (!(await letGo(qmp, `nic${key}`))) return STAYS;
  await quietly(qmp.execute("netdev_del", { id: `net${key}` }));
}

/** What each drive holds, in bytes, by the name of its top node. */
async function diskSizes(qmp: Qmp): Promise<Map<string, number>> {
  const listed = await qmp.execute("query-named-block-nodes", { flat: true });
  return new Map(
    (Array.isArray(listed) ? listed : [])
      .filter(isFields)
      .map((node) => [
        String(node["node-name"]),
        isFields(node.image) ? Number(node.image["virtual-size"]) : 0,
      ]),
  );
}
