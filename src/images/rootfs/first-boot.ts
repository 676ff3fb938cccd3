/** What a machine does at its first boot, in images of both modes. POSIX sh, for busybox too. */

import type { Recipe } from "../recipe.ts";
import { SEED_SERIAL } from "../seed.ts";
import type { GuestFile } from "./recipe-files.ts";

/**
 * First-boot data: a NoCloud seed on Vireo's disk for it, else on any. Only the host name and SSH keys are understood here; cloud-init, where it is installed, reads it itself.
 * `always`: at each boot, for systems that have the state of no earlier one, or never change what they are given.
 */
const SEED = `#!/bin/sh
state=/var/lib/vireo
seed=/run/vireo/seed
mkdir -p "$state" "$seed"
# Vireo's own, by its serial number (virtio, USB): data disks may be vfat, and have any label. Elsewhere by its label.
disk=
for at in /sys/block/*; do
  serial=$(cat "$at/serial" 2>/dev/null || cat "$at/device/../../../../serial" 2>/dev/null)
  [ "$serial" = ${SEED_SERIAL} ] && [ "$(cat "$at/ro")" = 1 ] || continue
  disk=/dev/\${at##*/}
  break
done
[ -n "$disk" ] || disk=$(findfs LABEL=CIDATA 2>/dev/null || findfs LABEL=cidata 2>/dev/null)
[ -z "$disk" ] || mount -t vfat -o ro "$disk" "$seed" 2>/dev/null
# As YAML has them: a name that could be taken for a number stands in quotes.
quote="[\\"']\\{0,1\\}"
id=$(sed -n "s/^instance-id: *$quote\\([^\\"']*\\)$quote *$/\\1/p" "$seed/meta-data" 2>/dev/null)
if [ ! -e "$state/instance-id" ] || [ "$(cat "$state/instance-id")" != "$id" ]; then new=1; else new=; fi
if [ -f "$seed/meta-data" ] && [ -n "$new$1" ]; then
  name=$(sed -n "s/^local-hostname: *$quote\\([^\\"']*\\)$quote *$/\\1/p" "$seed/meta-data")
  if [ -n "$name" ]; then
    echo "$name" > /etc/hostname
    sed -i '/^127\\.0\\.1\\.1[[:space:]]/d' /etc/hosts
    printf '127.0.1.1 %s\\n' "$name" >> /etc/hosts
  fi
  mkdir -p -m 700 /root/.ssh
  keys=$(sed -n "/^ssh_authorized_keys:/,/^[a-z]/s/^ *- *$quote\\(.*[^\\"']\\)$quote *$/\\1/p" "$seed/user-data")
  if [ -n "$keys" ]; then
    # Those of the image itself stay.
    [ -e /root/.ssh/image_keys ] || cp /root/.ssh/authorized_keys /root/.ssh/image_keys 2>/dev/null || : > /root/.ssh/image_keys
    { cat /root/.ssh/image_keys; echo "$keys"; } > /root/.ssh/authorized_keys
    chmod 600 /root/.ssh/authorized_keys
  fi
fi
umount "$seed" 2>/dev/null
hostname -F /etc/hostname
if [ -n "$new" ]; then
  # Keys that no two machines may share.
  if [ -d /etc/ssh ] && command -v ssh-keygen >/dev/null; then
    rm -f /etc/ssh/ssh_host_*
    ssh-keygen -A >/dev/null
  fi
  if command -v make-ssl-cert >/dev/null; then make-ssl-cert generate-default-snakeoil --force-overwrite; fi
  echo "$id" > "$state/instance-id"
fi
exit 0
`;

/** Once, also when it takes several boots until it ends well. */
const RUN = `#!/bin/sh
state=/var/lib/vireo
id=$(cat "$state/instance-id" 2>/dev/null)
[ "$(cat "$state/first-boot" 2>/dev/null)" = "done $id" ] && exit 0
if /etc/vireo/first-boot; then
  echo "done $id" > "$state/first-boot"
else
  code=$?
  echo "the first-boot script ended with $code; it is run again at the next boot" >&2
  exit $code
fi
`;

export const SEED_SCRIPT = "/etc/vireo/seed";
export const FIRST_BOOT_SCRIPT = "/etc/vireo/run-first-boot";

export function firstBootFiles({ firstBoot }: Recipe): GuestFile[] {
  const file = (path: string, content: string): GuestFile => ({ path, content, mode: 0o755 });
  return [
    file(SEED_SCRIPT, SEED),
    ...(firstBoot === undefined
      ? []
      : [
          file(FIRST_BOOT_SCRIPT, RUN),
          file("/etc/vireo/first-boot", firstBoot.startsWith("#!") ? firstBoot : `#!/bin/sh\n${firstBoot}`),
        ]),
  ];
}
