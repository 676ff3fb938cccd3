/**
 * One appliance in the formats of other hypervisors, each started by QEMU with the disk controllers and network cards that the hypervisor gives its guests: what does not
 * answer by HTTP would not there, either. Ten profiles of hypervisors, and CDs and network boot. What QEMU does not emulate (VMBus, Xen's own devices, ENA) is not shown by it.
 *
 *   node bench/formats.ts [LIMIT_SECONDS]
 *
 * Ends with 1 when one does not answer.
 */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Format, Recipe } from "../src/images/recipe.ts";
import { run } from "../src/system/run.ts";
import { answers, build, EXAMPLE } from "./appliance.ts";
import { count } from "./measure.ts";

const limitMs = count(process.argv[2], 180, "LIMIT_SECONDS") * 1000;
const folder = mkdtempSync(join(tmpdir(), "vireo-bench-formats-"));
const print = (line: string) => process.stdout.write(`${line}\n`);

const formats: Format[] = [
  "raw",
  "vmdk",
  "vmdk-stream",
  "vhd",
  "vhd-fixed",
  "vhdx",
  "vdi",
  "parallels",
  "iso",
  "pxe",
];
const recipe: Recipe = { ...EXAMPLE, kernel: "generic", formats };
const { built, at, seconds } = await build(recipe, join(folder, "pool"), join(folder, "layers"));
print(`built in ${seconds.toFixed(1)} s with ${formats.length} formats`);

const fileOf = (format?: Format) =>
  join(at, (format ? built.artifacts?.find((each) => each.format === format)?.file : built.file) ?? "");
const drive = (file: string, format: string, more: string) => [
  "-drive",
  `file=${file},format=${format},snapshot=on,${more}`,
];
const on = (file: string, format: string, ...devices: string[]) => [
  ...drive(file, format, "if=none,id=disk"),
  ...devices.flatMap((device) => ["-device", device]),
];
const ide = "ide-hd,drive=disk";
const ahci = ["ahci,id=ahci", "ide-hd,drive=disk,bus=ahci.0"];
/** Each machine has variables of its own: what another one has booted is nothing to it. */
const uefi = (machine: string) => {
  const variables = join(folder, `${machine}.fd`);
  copyFileSync("/usr/share/OVMF/OVMF_VARS_4M.fd", variables);
  return [
    ...["-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"],
    ...["-drive", `if=pflash,format=raw,file=${variables}`],
  ];
};
const pxe = join(folder, "pxe");
const [pc, q35] = [
  ["-M", "pc"],
  ["-M", "q35"],
];

try {
  await run("mkdir", [pxe]);
  await run("tar", ["-C", pxe, "-xf", fileOf("pxe")]);
  await run("tar", ["-C", folder, "-xf", fileOf("parallels")]);
  const commandLine = "console=ttyS0 quiet net.ifnames=0";
  type Profile = [name: string, nic: string, args: string[]];
  const hypervisors: Profile[] = [
    ["KVM: qcow2, virtio", "virtio-net-pci", [...q35, ...drive(fileOf(), "qcow2", "if=virtio")]],
    [
      "VMware: stream VMDK, pvscsi, vmxnet3",
      "vmxnet3",
      [...pc, ...on(fileOf("vmdk-stream"), "vmdk", "pvscsi", "scsi-hd,drive=disk")],
    ],
    [
      "VMware: VMDK, lsilogic, e1000",
      "e1000",
      [...pc, ...on(fileOf("vmdk"), "vmdk", "lsi53c895a", "scsi-hd,drive=disk")],
    ],
    ["Hyper-V 1, Virtual PC: VHD, IDE, tulip", "tulip", [...pc, ...on(fileOf("vhd"), "vpc", ide)]],
    [
      "Xen HVM, Virtual Iron: fixed VHD, IDE, rtl8139",
      "rtl8139",
      [...pc, ...on(fileOf("vhd-fixed"), "vpc", ide)],
    ],
    [
      "Hyper-V 2: VHDX, UEFI, AHCI, e1000e",
      "e1000e",
      [...q35, ...uefi("hyper-v"), ...on(fileOf("vhdx"), "vhdx", ...ahci)],
    ],
    ["VirtualBox: VDI, AHCI, pcnet", "pcnet", [...pc, ...on(fileOf("vdi"), "vdi", ...ahci)]],
    [
      "Parallels: HDS, IDE, ne2k",
      "ne2k_pci",
      [...pc, ...on(join(folder, "web.hdd/web.hds"), "parallels", ide)],
    ],
    [
      "Parallels: HDS, AHCI, e1000",
      "e1000",
      [...q35, ...on(join(folder, "web.hdd/web.hds"), "parallels", ...ahci)],
    ],
    ["EC2: raw, NVMe, e1000e", "e1000e", [...q35, ...on(fileOf("raw"), "raw", "nvme,serial=1,drive=disk")]],
  ];
  const others: Profile[] = [
    ["CD, BIOS", "virtio-net-pci", [...pc, "-cdrom", fileOf("iso")]],
    ["CD, UEFI", "virtio-net-pci", [...q35, ...uefi("cd"), "-cdrom", fileOf("iso")]],
    [
      "network boot: kernel and initial RAM disk",
      "virtio-net-pci",
      [...q35, "-kernel", join(pxe, "vmlinuz"), "-initrd", join(pxe, "initrd"), "-append", commandLine],
    ],
  ];
  let silent = 0;
  const all = async (what: string, profiles: readonly Profile[]) => {
    let answered = 0;
    for (const [name, nic, args] of profiles) {
      const seconds = await answers(args, { memoryMiB: 256, nic, limitMs });
      if (!Number.isNaN(seconds)) answered += 1;
      print(Number.isNaN(seconds) ? `SILENT ${name}` : `ok     ${name}: ${seconds.toFixed(1)} s`);
    }
    print(`${what}: ${answered} of ${profiles.length} answer`);
    silent += profiles.length - answered;
  };
  await all("hypervisors", hypervisors);
  await all("without a disk", others);
  process.exitCode = silent > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
