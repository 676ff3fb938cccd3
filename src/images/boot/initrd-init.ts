/** The first program of an initial RAM disk: it finds the root file system, mounts it and hands over. POSIX sh for busybox. */

/** What the initial RAM disk has of busybox. */
export const INITRD_APPLETS = [
  "sh",
  "cat",
  "findfs",
  "grep",
  "insmod",
  "mkdir",
  "modprobe",
  "mount",
  "sort",
  "switch_root",
  "umount",
  "usleep",
];

/** In order; where the kernel is for all hardware, then what there is, twice: what is found behind a bus shows when the bus has its driver. */
export const LOAD_DRIVERS = `for module in $(cat /lib/modules/*/order); do insmod /lib/modules/*/$module; done
if [ -e /lib/modules/*/by-hardware ]; then
  for pass in 1 2; do modprobe -a -q $(cat /sys/bus/*/devices/*/modalias | sort -u); done
fi`;

/** Where the root file system is, and of what type; of all but ext4 nothing can be written, so that what is comes to lie above it, in memory. */
export interface RootOnDisk {
  /** A device, UUID=… of a file system or PARTNAME=… of a partition. */
  device: string;
  type: "ext4" | "squashfs" | "erofs";
}

const findDisk = (device: string) => {
  if (device.startsWith("/")) return `disk=${device}`;
  // Of a partition's name busybox's findfs knows nothing.
  if (device.startsWith("PARTNAME="))
    return `at=$(grep -l ^${device}$ /sys/class/block/*/uevent); at=\${at%/uevent}; disk=/dev/\${at##*/}`;
  return `disk=$(findfs ${device} 2>/dev/null)`;
};

const mountRoot = (type: RootOnDisk["type"]) =>
  type === "ext4"
    ? 'mount -t ext4 -o rw,noatime "$disk" /root || exec sh'
    : `mkdir -p /lower /upper
mount -t ${type} -o ro "$disk" /lower || exec sh
mount -t tmpfs -o mode=755 tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root || exec sh`;

/** Loads drivers, mounts the root disk, hands over. */
export const initrdInit = ({ device, type }: RootOnDisk) => `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
${LOAD_DRIVERS} 2>/dev/null
tries=0
while [ $tries -lt 200 ]; do
  ${findDisk(device)}
  [ -b "$disk" ] && break
  usleep 50000
  tries=$((tries + 1))
done
${mountRoot(type)}
mount --move /dev /root/dev
umount /sys
umount /proc
exec switch_root /root /sbin/init
`;
