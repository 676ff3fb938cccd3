/**
 * Hypervisors as QEMU can be them: each with the disk controller and network card that it gives its guests. What QEMU does not emulate (VMBus, Xen's own devices, ENA) is not
 * among them.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../system/run.ts";
import type { Format } from "../recipe.ts";

export interface Profile {
  name: string;
  /** Whose file it is started from. */
  format: Format;
  /** QEMU's name of the network card. */
  nic: string;
  /** QEMU's, for the rest. */
  args: string[];
}

export const PROFILE_FORMATS: readonly Format[] = [
  ...(["raw", "qcow2", "vmdk", "vmdk-stream", "vhd", "vhd-fixed", "vhdx", "vdi"] as const),
  ...(["parallels", "iso", "pxe"] as const),
];

const [pc, q35] = [
  ["-M", "pc"],
  ["-M", "q35"],
];
const on = (file: string, driver: string, ...devices: string[]) => [
  ...["-drive", `file=${file},format=${driver},snapshot=on,if=none,id=disk`],
  ...devices.flatMap((device) => ["-device", device]),
];
const ide = "ide-hd,drive=disk";
const ahci = ["ahci,id=ahci", "ide-hd,drive=disk,bus=ahci.0"];

/**
 * @param folder for what is unpacked, and for the variables of firmware
 * @param name of the image @param fileOf a format's file
 * @returns ten that have a disk, and CDs and network boot
 */
export async function hypervisorProfiles(
  folder: string,
  name: string,
  fileOf: (format: Format) => string,
): Promise<{ disks: Profile[]; others: Profile[] }> {
  const pxe = join(folder, "pxe");
  mkdirSync(pxe);
  await run("tar", ["-C", pxe, "-xf", fileOf("pxe")]);
  await run("tar", ["-C", folder, "-xf", fileOf("parallels")]);
  const hds = join(folder, `${name}.hdd/${name}.hds`);
  /** Each machine has variables of its own: what another one has booted is nothing to it. */
  const uefi = (machine: string) => {
    const variables = join(folder, `${machine}.fd`);
    copyFileSync("/usr/share/OVMF/OVMF_VARS_4M.fd", variables);
    return [
      ...["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"],
      ...["-drive", `if=pflash,format=raw,file=${variables}`],
    ];
  };
  const profile = (name: string, format: Format, nic: string, args: string[]) => ({
    ...{ name, format, nic, args },
  });
  const commandLine = "console=ttyS0 quiet net.ifnames=0";
  const disks = [
    profile("KVM: qcow2, virtio", "qcow2", "virtio-net-pci", [
      ...[...q35, ...on(fileOf("qcow2"), "qcow2", "virtio-blk-pci,drive=disk")],
    ]),
    profile("VMware: stream VMDK, pvscsi, vmxnet3", "vmdk-stream", "vmxnet3", [
      ...[...pc, ...on(fileOf("vmdk-stream"), "vmdk", "pvscsi", "scsi-hd,drive=disk")],
    ]),
    profile("VMware: VMDK, lsilogic, e1000", "vmdk", "e1000", [
      ...[...pc, ...on(fileOf("vmdk"), "vmdk", "lsi53c895a", "scsi-hd,drive=disk")],
    ]),
    profile("Hyper-V 1, Virtual PC: VHD, IDE, tulip", "vhd", "tulip", [
      ...[...pc, ...on(fileOf("vhd"), "vpc", ide)],
    ]),
    profile("Xen HVM, Virtual Iron: fixed VHD, IDE, rtl8139", "vhd-fixed", "rtl8139", [
      ...[...pc, ...on(fileOf("vhd-fixed"), "vpc", ide)],
    ]),
    profile("Hyper-V 2: VHDX, UEFI, AHCI, e1000e", "vhdx", "e1000e", [
      ...[...q35, ...uefi("hyper-v"), ...on(fileOf("vhdx"), "vhdx", ...ahci)],
    ]),
    profile("VirtualBox: VDI, AHCI, pcnet", "vdi", "pcnet", [
      ...[...pc, ...on(fileOf("vdi"), "vdi", ...ahci)],
    ]),
    profile("Parallels: HDS, IDE, ne2k", "parallels", "ne2k_pci", [...[...pc, ...on(hds, "parallels", ide)]]),
    profile("Parallels: HDS, AHCI, e1000", "parallels", "e1000", [
      ...[...q35, ...on(hds, "parallels", ...ahci)],
    ]),
    profile("EC2: raw, NVMe, e1000e", "raw", "e1000e", [
      ...[...q35, ...on(fileOf("raw"), "raw", "nvme,serial=1,drive=disk")],
    ]),
  ];
  const others = [
    profile("CD, BIOS", "iso", "virtio-net-pci", [...pc, "-cdrom", fileOf("iso")]),
    profile("CD, UEFI", "iso", "virtio-net-pci", [...q35, ...uefi("cd"), "-cdrom", fileOf("iso")]),
    profile("network boot: kernel and initial RAM disk", "pxe", "virtio-net-pci", [
      ...[...q35, "-kernel", join(pxe, "vmlinuz"), "-initrd", join(pxe, "initrd")],
      ...["-append", commandLine],
    ]),
  ];
  return { disks, others };
}
