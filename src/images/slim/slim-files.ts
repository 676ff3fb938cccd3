/** What slim images have of Vireo's own: init, network, first boot. POSIX sh for busybox; no path of the build machine in it. */
import { posix } from "node:path";
import { LOAD_DRIVERS } from "../boot/initrd-init.ts";
import type { Recipe } from "../recipe.ts";
import { FIRST_BOOT_SCRIPT, firstBootFiles, SEED_SCRIPT } from "../rootfs/first-boot.ts";
import { filesOf, type GuestFile, passingFolders } from "../rootfs/recipe-files.ts";
import { WAITING_SCRIPT } from "./waiting-shell.ts";

const RESOLV_CONF = "/etc/resolv.conf";

/** Runs once at each boot, before the services. */
const boot = (recipe: Recipe) => `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
# Of a root in memory nothing has been mounted or loaded yet.
if ! mountpoint -q /dev; then
  mount -t devtmpfs dev /dev
${LOAD_DRIVERS.replace(/^/gm, "  ")}
fi 2>/dev/null
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /dev/pts /dev/shm /tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
${passingFolders(recipe)
  .map((path) => `mkdir -p -- '${path.replaceAll("'", "'\\''")}'\n`)
  .join("")}${SEED_SCRIPT} always
ip link set lo up
for nic in /sys/class/net/eth*; do
  udhcpc -b -i "\${nic##*/}" -t 5 -T 1 -A 2 -s /etc/vireo/udhcpc -x "hostname:$(hostname)" >/dev/null 2>&1 &
done
# The guest agent looks for its port by name; without udev nobody else makes the link.
for port in /sys/class/virtio-ports/*; do
  [ -f "$port/name" ] || continue
  mkdir -p /dev/virtio-ports
  ln -sf "/dev/\${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
done
${(recipe.users ?? [])
  .map(({ name }) => `[ ! -d /home/${name} ] || chown -R ${name}:"$(id -g ${name})" /home/${name}\n`)
  .join("")}${
  recipe.firstBoot === undefined
    ? ""
    : `# Its network is there, if it is to be had.
tries=0
while ls -d /sys/class/net/eth* >/dev/null 2>&1 && ! ip route | grep -q ^default && [ $tries -lt 40 ]; do
  usleep 250000
  tries=$((tries + 1))
done
${FIRST_BOOT_SCRIPT} >/dev/console 2>&1
`
}`;

/** A recipe's own /etc/resolv.conf stays as it is. Neighbours are told of the address: what they knew of it may be another machine's card. */
const udhcpc = (recipe: Recipe) => `#!/bin/sh
case $1 in
  deconfig) ip link set "$interface" up ;;
  bound | renew)
    [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "\${router%% *}"
    [ $1 = renew ] || arping -q -U -c 1 -w 1 -I "$interface" "$ip" &
${
  filesOf(recipe).some(({ path }) => posix.normalize(path) === RESOLV_CONF)
    ? ""
    : `    : > ${RESOLV_CONF}
    for server in $dns; do echo "nameserver $server" >> ${RESOLV_CONF}; done
`
}    ;;
esac
`;

/** Users and groups of base-passwd that packages' files and configuration go by, with their numbers (Debian policy 9.2.2); not all that it has. */
const PASSWD = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
sync:x:4:65534:sync:/bin:/bin/sync
games:x:5:60:games:/usr/games:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
lp:x:7:7:lp:/var/spool/lpd:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
news:x:9:9:news:/var/spool/news:/usr/sbin/nologin
uucp:x:10:10:uucp:/var/spool/uucp:/usr/sbin/nologin
proxy:x:13:13:proxy:/bin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
backup:x:34:34:backup:/var/backups:/usr/sbin/nologin
list:x:38:38:Mailing List Manager:/var/list:/usr/sbin/nologin
irc:x:39:39:ircd:/run/ircd:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`;
const GROUP = `root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
news:x:9:
uucp:x:10:
man:x:12:
proxy:x:13:
kmem:x:15:
dialout:x:20:
cdrom:x:24:
sudo:x:27:
audio:x:29:
www-data:x:33:
backup:x:34:
list:x:38:
irc:x:39:
shadow:x:42:
utmp:x:43:
video:x:44:
staff:x:50:
games:x:60:
users:x:100:
nogroup:x:65534:
`;
/** Those that slim images have. */
export const SLIM_GROUPS: readonly string[] = GROUP.split("\n").flatMap((line) => line.split(":")[0] || []);

const GUEST_AGENT =
  "::respawn:/usr/sbin/qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0";

function inittab(recipe: Recipe): string {
  const services = (recipe.services ?? []).map(({ name }) => `::respawn:/etc/vireo/services/${name}`);
  return [
    "::sysinit:/etc/vireo/boot",
    "::respawn:/usr/bin/busybox acpid -f -c /etc/acpi -l /dev/null",
    ...(recipe.guestAgent === false ? [] : [GUEST_AGENT, "::respawn:/etc/vireo/waiting-shell"]),
    ...services,
    "::ctrlaltdel:/sbin/reboot",
    "::shutdown:/bin/sync",
    "::shutdown:/bin/umount -a -r",
    "",
  ].join("\n");
}

/** Everything Vireo itself adds to an image of this recipe; the recipe's own files come last and win. */
export function guestFiles(recipe: Recipe): GuestFile[] {
  const file = (path: string, content: string, mode = 0o644): GuestFile => ({ path, content, mode });
  return [
    file("/etc/inittab", inittab(recipe)),
    file("/etc/vireo/boot", boot(recipe), 0o755),
    ...firstBootFiles(recipe),
    ...(recipe.guestAgent === false ? [] : [file("/etc/vireo/waiting-shell", WAITING_SCRIPT, 0o755)]),
    file("/etc/vireo/udhcpc", udhcpc(recipe), 0o755),
    // The name is the event's text as busybox's acpid makes it of an input event.
    file("/etc/acpi/button/power PWRF 00000080", "#!/bin/sh\npoweroff\n", 0o755),
    file("/etc/acpid.conf", ""),
    file("/etc/passwd", PASSWD),
    file("/etc/group", GROUP),
    file("/etc/shadow", "root:*:19000:0:99999:7:::\n", 0o640),
    file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    file("/etc/hostname", `${recipe.hostname ?? "vireo"}\n`),
    file("/etc/hosts", "127.0.0.1 localhost\n"),
    file(RESOLV_CONF, ""),
    ...(recipe.services ?? []).map(({ name, command = "false" }) =>
      file(
        `/etc/vireo/services/${name}`,
        `#!/bin/sh\n${recipe.locale ? `export LANG=${recipe.locale}\n` : ""}exec </dev/null >/dev/console 2>&1\nexec ${command}\n`,
        0o755,
      ),
    ),
    ...filesOf(recipe),
  ];
}
