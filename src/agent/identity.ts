/**
 * A new identity for the guest of an instant clone, which goes on as the guest of its template: with that one's hardware addresses, addresses, name and
 * machine id. Its network cards have no link (Hypervisor.disconnect) from before it runs until this is done, so nobody on its networks ever meets two of
 * the same. By the guest agent: a POSIX shell, `ip` and `hostname` in the guest suffice (busybox, any Linux). What it finds done it does not do again.
 *
 * What else a guest holds that should be its own (keys of its SSH server, random numbers that programs have drawn) is the guest's business: the kernel is
 * told by the VM generation id.
 */
import type { Instance } from "../compute/kinds.ts";
import type { GuestProgram } from "../qemu/guest-exec.ts";
import { gatewayOf, parseSubnet } from "../resource/subnet.ts";
import { type Hypervisor, HypervisorError } from "./hypervisor.ts";
import { idOf } from "./probe.ts";

/** One of the guest's cards: what it was, and what it becomes. */
export interface NewAddress {
  from: string;
  mac: string;
  address: string;
  prefixLength: number;
  gateway: string;
}

export interface Identity {
  hostname: string;
  /** 32 digits. */
  machineId: string;
  cards: readonly NewAddress[];
}

/** A busy guest may take this long; one without a guest agent does not answer at all. */
const DEADLINE_MS = 15_000;

/** @param subnets of its interfaces' networks */
export function identityOf({ spec }: Instance, subnets: readonly string[]): Identity {
  const macs = spec.source?.macs ?? [];
  return {
    hostname: spec.guest?.hostname ?? spec.vm,
    machineId: spec.vmUid.replaceAll("-", ""),
    cards: spec.interfaces.map(({ mac, address }, i) => {
      const subnet = parseSubnet(subnets[i] ?? "");
      const { prefixLength } = subnet;
      return { from: macs[i] ?? mac, mac, address, prefixLength, gateway: gatewayOf(subnet) };
    }),
  };
}

/**
 * What the guest's shell is told. Everything in it is of our own making or checked by the API (addresses, a label), so nothing in it can break out of its
 * quotes.
 */
export function identityScript({ hostname, machineId, cards }: Identity): string {
  return [
    "set -e",
    "card() {",
    '  for path in /sys/class/net/*; do [ "$(cat "$path/address")" = "$1" ] && { basename "$path"; return; }; done',
    "  return 1",
    "}",
    // The client of DHCP knows the old address, and would bring it back.
    "killall udhcpc dhclient 2>/dev/null || pkill 'udhcpc|dhclient' 2>/dev/null || true",
    ...cards.flatMap(({ from, mac, address, prefixLength, gateway }, i) => [
      `nic=$(card ${mac} || card ${from})`,
      // Down in between: that also takes its old routes and IPv6 addresses, which were made from the old hardware address.
      'ip link set dev "$nic" down',
      `ip link set dev "$nic" address ${mac}`,
      'ip -4 addr flush dev "$nic"',
      `ip addr add ${address}/${prefixLength} dev "$nic"`,
      'ip link set dev "$nic" up',
      ...(i === 0 ? [`ip route replace default via ${gateway} dev "$nic" 2>/dev/null || true`] : []),
    ]),
    `hostname ${hostname}`,
    `echo ${hostname} > /etc/hostname`,
    `[ ! -f /etc/hosts ] || sed -i 's/^127\\.0\\.1\\.1 .*/127.0.1.1 ${hostname}/' /etc/hosts`,
    `[ ! -s /etc/machine-id ] || echo ${machineId} > /etc/machine-id`,
    // As at boot (images/guest-files.ts); other guests have clients of their own, which see the link come.
    "if [ -x /etc/vireo/udhcpc ]; then",
    ...cards.map(
      ({ mac }) =>
        `  (sleep 1; exec udhcpc -b -i "$(card ${mac})" -t 5 -T 1 -A 2 -s /etc/vireo/udhcpc -x hostname:${hostname}) >/dev/null 2>&1 </dev/null &`,
    ),
    "fi",
    "echo identified",
    "",
  ].join("\n");
}

/**
 * Gives the guest its identity, and then its link. @returns why it could not be given; undefined when it has it
 */
export async function identify(
  hypervisor: Hypervisor,
  instance: Instance,
  identity: Identity,
): Promise<string | undefined> {
  const id = idOf(instance);
  const program: GuestProgram = {
    command: ["/bin/sh", "-s"],
    input: identityScript(identity),
    timeoutMs: DEADLINE_MS,
  };
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      const { exitCode, stderr } = await hypervisor.guestExec(id, program);
      if (exitCode !== 0)
        return `the guest could not be given its own identity: ${stderr.trim().slice(0, 300) || `ended with ${exitCode}`}`;
      await hypervisor.connect(id);
      return undefined;
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      // Its guest agent may have been in the middle of something when it was saved.
      if (performance.now() > deadline)
        return `the guest could not be given its own identity: ${error.message}`;
    }
  }
}
