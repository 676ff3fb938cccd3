/** What comes and goes while a machine runs (qemu/hotplug.ts), kept in its record: a start that goes on with its memory needs the same. */
import { bringOnline } from "../../qemu/guest-online.ts";
import { type Adjusted, adjust } from "../../qemu/hotplug.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import type { Adjustable } from "../hypervisor.ts";
import type { MachineFolder, MachineRecord } from "./qemu-record.ts";
import { pageBytes } from "./topology.ts";

/** @param withMonitor as QemuHypervisor has it */
export async function changeMachine(
  { folder, record }: { folder: MachineFolder; record: MachineRecord },
  { cpus, memory, memoryTarget: target, lacking, ...wanted }: Adjustable,
  withMonitor: <T>(work: (qmp: Qmp) => Promise<T>) => Promise<T>,
): Promise<Adjusted> {
  const { hardware, more, accelerator } = record.config;
  const amounts = {
    hasRoom: more !== undefined,
    cpus,
    begunWith: record.config.memory,
    memory,
    ...(target === undefined ? {} : { target }),
    ram: ramOf(record),
    cpusGo: accelerator === "kvm",
    ...(record.shared ? { isShared: true } : {}),
    ...(lacking ? { lacking } : {}),
  };
  const adjusted = await withMonitor((qmp) =>
    adjust(qmp, { ...wanted, amounts, ...(hardware ? { hardware } : {}) }),
  );
  const now = more && { ...more, cpus: adjusted.cpus, modules: adjusted.modules };
  folder.update(({ config, ...rest }) => ({
    ...rest,
    config: { ...config, ...wanted, ...(now ? { more: now } : {}) },
  }));
  if (!now) return adjusted;
  const refused = await bringOnline(folder.files.guestAgent, adjusted.cpus);
  return { ...adjusted, refused: [...adjusted.refused, ...refused] };
}

/** Where its memory comes from. */
export const ramOf = ({ config, place, merges }: MachineRecord) => ({
  ...(config.resources?.hugepages ? { hugePageBytes: pageBytes(config.resources.hugepages) } : {}),
  ...(place?.bound && place.node !== undefined ? { node: place.node } : {}),
  ...(merges ? { mergeable: true } : {}),
});
