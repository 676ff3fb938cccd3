/** The descriptions that come beside a disk in bundles for other hypervisors. Pure. */
import { createHash } from "node:crypto";
import { digestOf } from "../recipe.ts";

export interface Described {
  /** Of the image. */
  name: string;
  /** Of the disk's content: identifiers are made of it. */
  digest: string;
  virtualBytes: number;
  /** Of the file that the bundle has. */
  fileBytes: number;
  memoryMiB: number;
  boot: "direct" | "bios" | "uefi" | "both";
  commandLine: string;
}

const SECTOR = 512;

const xml = (text: string) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const uuid = (digest: string, use: string) =>
  digestOf([digest, use])
    .slice(0, 32)
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** Open Virtualization Format 1.0 with VMware's hardware 11, which ESXi since 6.0, Workstation, Fusion and VirtualBox take. */
export function ovf(of: Described, vmdk: string): string {
  const item = (fields: Record<string, string | number>) =>
    `      <Item>\n${Object.entries(fields)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `        <rasd:${name}>${xml(`${value}`)}</rasd:${name}>\n`)
      .join("")}      </Item>\n`;
  const name = xml(of.name);
  return `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="${xml(vmdk)}" ovf:id="file1" ovf:size="${of.fileBytes}"/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:capacity="${of.virtualBytes}" ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>Logical networks</Info>
    <Network ovf:name="VM Network"><Description>The network of the machine</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="${name}">
    <Info>A machine made by Vireo</Info>
    <Name>${name}</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="otherLinux64Guest"><Info>Debian GNU/Linux, 64 bit</Info></OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>${name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-11</vssd:VirtualSystemType>
      </System>
${item({ AllocationUnits: "hertz * 10^6", Description: "Number of virtual CPUs", ElementName: "1 virtual CPU", InstanceID: 1, ResourceType: 3, VirtualQuantity: 1 })}${item({ AllocationUnits: "byte * 2^20", Description: "Memory size", ElementName: `${of.memoryMiB} MB of memory`, InstanceID: 2, ResourceType: 4, VirtualQuantity: of.memoryMiB })}${item({ Address: 0, Description: "SCSI controller", ElementName: "SCSI controller 0", InstanceID: 3, ResourceSubType: "lsilogic", ResourceType: 6 })}${item({ AddressOnParent: 0, ElementName: "Hard disk 1", HostResource: "ovf:/disk/vmdisk1", InstanceID: 4, Parent: 3, ResourceType: 17 })}${item({ AddressOnParent: 7, AutomaticAllocation: "true", Connection: "VM Network", ElementName: "Network adapter 1", InstanceID: 5, ResourceSubType: "E1000", ResourceType: 10 })}${of.boot === "uefi" ? '      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>\n' : ""}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
`;
}

/** Virtual PC's settings: UTF-16 with a byte order mark, as it writes them. */
export function vmc(of: Described, vhd: string): Buffer {
  const text = `<?xml version="1.0" encoding="UTF-16"?>
<preferences>
  <version type="string">2.0</version>
  <hardware>
    <memory><ram_size type="integer">${of.memoryMiB}</ram_size></memory>
    <pci_bus>
      <ethernet_adapter><controller_count type="integer">1</controller_count><ethernet_controller id="0"><virtual_network><name type="string">Shared Networking (NAT)</name></virtual_network></ethernet_controller></ethernet_adapter>
      <ide_adapter>
        <ide_controller id="0"><location id="0"><drive_type type="integer">1</drive_type><pathname><relative type="string">${xml(vhd)}</relative></pathname></location></ide_controller>
      </ide_adapter>
    </pci_bus>
  </hardware>
  <virtual_machines><name type="string">${xml(of.name)}</name></virtual_machines>
</preferences>
`;
  return Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text.replaceAll("\n", "\r\n"), "utf16le")]);
}

/** DiskDescriptor.xml of a Parallels disk bundle (.hdd). */
export function hdd(of: Described, hds: string): string {
  const sectors = of.virtualBytes / SECTOR;
  const [heads, perTrack] = [16, 32];
  const guid = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"; // the current state's, in every bundle
  return `<?xml version="1.0" encoding="UTF-8"?>
<Parallels_disk_image Version="1.0">
    <Disk_Parameters>
        <Disk_size>${sectors}</Disk_size>
        <Cylinders>${Math.floor(sectors / (heads * perTrack))}</Cylinders>
        <PhysicalSectorSize>4096</PhysicalSectorSize>
        <Heads>${heads}</Heads>
        <Sectors>${perTrack}</Sectors>
        <Padding>0</Padding>
        <UID>{${uuid(of.digest, "parallels")}}</UID>
        <Name>${xml(of.name)}</Name>
        <Miscellaneous><CompatLevel>level2</CompatLevel><Bootable>1</Bootable><SuspendState>0</SuspendState></Miscellaneous>
    </Disk_Parameters>
    <StorageData>
        <Storage>
            <Start>0</Start>
            <End>${sectors}</End>
            <Blocksize>2048</Blocksize>
            <Image><GUID>${guid}</GUID><Type>Compressed</Type><File>${xml(hds)}</File></Image>
        </Storage>
    </StorageData>
    <Snapshots>
        <Shot><GUID>${guid}</GUID><ParentGUID>{00000000-0000-0000-0000-000000000000}</ParentGUID></Shot>
    </Snapshots>
</Parallels_disk_image>
`;
}

/** xl's configuration: PVH with the kernel beside the disk where the system is in memory, else the disk by the firmware (HVM). */
export function xl(of: Described, disk: string, kernel?: { kernel: string; initrd: string }): string {
  const lines = [
    `name = "${of.name}"`,
    `memory = ${of.memoryMiB}`,
    "vcpus = 1",
    `disk = [ "format=raw, vdev=xvda, access=rw, target=${disk}" ]`,
    'vif = [ "" ]',
    ...(kernel
      ? [
          'type = "pvh"',
          `kernel = "${kernel.kernel}"`,
          `ramdisk = "${kernel.initrd}"`,
          `cmdline = "${of.commandLine.replace("ttyS0", "hvc0")}"`,
        ]
      : ['type = "hvm"', ...(of.boot === "uefi" ? ['bios = "ovmf"'] : []), 'serial = "pty"']),
  ];
  return lines.map((line) => `${line}\n`).join("");
}

/** What `aws ec2 import-snapshot` and then `aws ec2 register-image` are given; the snapshot's id comes between the two. */
export function ami(of: Described, disk: string): { importSnapshot: string; registerImage: string } {
  const text = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
  const name = `${of.name}-${of.digest.slice(0, 12)}`;
  return {
    importSnapshot: text({
      Description: name,
      DiskContainer: { Description: name, Format: "RAW", UserBucket: { S3Bucket: "BUCKET", S3Key: disk } },
    }),
    registerImage: text({
      Name: name,
      Architecture: "x86_64",
      VirtualizationType: "hvm",
      BootMode: { bios: "legacy-bios", uefi: "uefi", both: "uefi-preferred", direct: "legacy-bios" }[of.boot],
      EnaSupport: true,
      RootDeviceName: "/dev/xvda",
      BlockDeviceMappings: [
        {
          DeviceName: "/dev/xvda",
          Ebs: {
            SnapshotId: "SNAPSHOT",
            VolumeSize: Math.max(1, Math.ceil(of.virtualBytes / 2 ** 30)),
            VolumeType: "gp3",
            DeleteOnTermination: true,
          },
        },
      ],
    }),
  };
}

/** Menus for network boot. */
export const pxelinux = (of: Described) =>
  `DEFAULT linux\nLABEL linux\n KERNEL vmlinuz\n INITRD initrd\n APPEND ${of.commandLine}\n`;
export const ipxe = (of: Described) =>
  `#!ipxe\nkernel vmlinuz initrd=initrd ${of.commandLine}\ninitrd initrd\nboot\n`;

/** An OCI image of one layer, such as KubeVirt's container disks: blobs by digest, and what is written of them. */
export function oci(
  of: Described,
  layer: { sha256: string; bytes: number },
): {
  config: string;
  manifest: string;
  index: string;
  layout: string;
  digests: { config: string; manifest: string };
} {
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Labels: { "org.opencontainers.image.title": of.name } },
    rootfs: { type: "layers", diff_ids: [`sha256:${layer.sha256}`] },
  });
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: `sha256:${sha256(config)}`,
      size: config.length,
    },
    layers: [
      {
        mediaType: "application/vnd.oci.image.layer.v1.tar",
        digest: `sha256:${layer.sha256}`,
        size: layer.bytes,
      },
    ],
  });
  const index = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      {
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: `sha256:${sha256(manifest)}`,
        size: manifest.length,
        platform: { architecture: "amd64", os: "linux" },
        annotations: { "org.opencontainers.image.ref.name": of.name },
      },
    ],
  });
  const layout = JSON.stringify({ imageLayoutVersion: "1.0.0" });
  return { config, manifest, index, layout, digests: { config: sha256(config), manifest: sha256(manifest) } };
}
