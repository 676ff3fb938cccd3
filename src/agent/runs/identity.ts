/**
 * A new identity for the guest of an instant clone, which goes on as the guest of its template: with that one's hardware addresses, addresses, name and
 * machine id. Its network cards have no link (Hypervisor.disconnect) from before it runs until this is done, so nobody on its networks ever meets two of
 * the same. By the guest agent: a POSIX shell and `ip` in the guest suffice (busybox, any Linux). It may be done again.
 *
 * What else a guest holds that should be its own (keys of its SSH server, random numbers that programs have drawn) is the guest's business: a kernel
 * with a driver for it is told by the VM generation id.
 */
import type { Instance } from "../../compute/kinds.ts";
import { WAITING_SHELL } from "../../images/slim/waiting-shell.ts";
import { gatewayOf, netmaskOf, parseSubnet } from "../../resource/subnet.ts";
import { type Hypervisor, HypervisorError, type MachineId } from "../hypervisor.ts";
import { idOf } from "./instance-status.ts";

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
const SEEN_MS = 5;
/** Of the guest's shell; what it says then counts. An earlier one, of which nobody knows any more, may still be at work in a busy guest. */
const ATTEMPTS = 3;
const AGAIN_MS = 200;
/** Its processor is wanted for what it is asked for: the cards tell earlier that all is done. */
const LOOK_MS = 250;
/** Of a shell that waits for it: it needs a quarter of a second under emulation. */
const SHELL_MS = 3000;

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
function identityScript({ hostname, machineId, cards }: Identity): string {
  return [
    "set -e",
    "card() {",
    "  for path in /sys/class/net/*; do",
    // A virtual one may have an address that cannot be read.
    '    read -r mac < "$path/address" || continue',
    `    [ "$mac" != "$1" ] || { nic=\${path##*/}; return; }`,
    "  done 2>/dev/null",
    "  return 1",
    "}",
    // Each program that is started is dear in a guest whose translated code is not there yet (TCG): what the shell can do itself it does.
    `{ echo ${hostname} > /proc/sys/kernel/hostname; } 2>/dev/null || true`,
    `{ [ ! -s /etc/machine-id ] || echo ${machineId} > /etc/machine-id; } 2>/dev/null || true`,
    ...cards.flatMap(({ from, mac, address, prefixLength, gateway }, i) => [
      `card ${from} || card ${mac}`,
      // Without them none is left that was made from the old hardware address.
      'v6="/proc/sys/net/ipv6/conf/$nic/disable_ipv6"',
      '[ ! -e "$v6" ] || echo 1 > "$v6"',
      'ip -4 addr flush dev "$nic"',
      // The hardware address last, because it is seen from outside. Both by one program, where the guest has it.
      `ifconfig "$nic" ${address} netmask ${netmaskOf(prefixLength)} hw ether ${mac} 2>/dev/null || {`,
      `  ip addr replace ${address}/${prefixLength} dev "$nic"`,
      `  ip link set dev "$nic" address ${mac} 2>/dev/null || { ip link set dev "$nic" down; ip link set dev "$nic" address ${mac}; ip link set dev "$nic" up; }`,
      "}",
      ...(i === 0 ? [`ip route replace default via ${gateway} dev "$nic" 2>/dev/null || true`] : []),
    ]),
    // The rest need not be waited for, and leaves the processor to what the guest is there for.
    "(",
    `echo ${hostname} > /etc/hostname || true`,
    "sleep 1",
    ...cards.map(({ mac }) => `card ${mac} && echo 0 > "/proc/sys/net/ipv6/conf/$nic/disable_ipv6" || true`),
    `[ ! -f /etc/hosts ] || sed -i 's/^127\\.0\\.1\\.1 .*/127.0.1.1 ${hostname}/' /etc/hosts`,
    // The client of DHCP knows the old hardware address. As at boot (images/slim/slim-files.ts); other guests' clients see the link come.
    "if [ -x /etc/vireo/udhcpc ]; then",
    "  killall udhcpc || true",
    ...cards.map(
      ({ mac }) =>
        `  card ${mac} && udhcpc -b -i "$nic" -t 5 -T 1 -A 2 -s /etc/vireo/udhcpc -x hostname:${hostname} &`,
    ),
    "fi",
    ") >/dev/null 2>&1 </dev/null &",
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
  const script = identityScript(identity);
  const why = (await byWaitingShell(hypervisor, id, identity, script))
    ? undefined
    : await byProgram(hypervisor, id, identity, script);
  if (why !== undefined) return `the guest could not be given its own identity: ${why}`;
  await hypervisor.connect(id);
  return undefined;
}

/** By the shell that waits in the guests of slim images: half as long as by one that has to be started. @returns whether it is done */
async function byWaitingShell(
  hypervisor: Hypervisor,
  id: MachineId,
  identity: Identity,
  script: string,
): Promise<boolean> {
  // By its cards it is seen that it is done.
  if (identity.cards.length === 0) return false;
  try {
    await hypervisor.guestTell(id, WAITING_SHELL, script);
  } catch (error) {
    if (!(error instanceof HypervisorError)) throw error;
    return false;
  }
  return seen(hypervisor, id, identity, AbortSignal.timeout(SHELL_MS));
}

/** @returns why it is not done */
async function byProgram(
  hypervisor: Hypervisor,
  id: MachineId,
  identity: Identity,
  script: string,
): Promise<string | undefined> {
  const command = ["/bin/sh", "-c", script];
  const deadline = performance.now() + DEADLINE_MS;
  for (let refusals = 0; ; ) {
    const over = new AbortController();
    try {
      const program = { command, timeoutMs: DEADLINE_MS, lookMs: LOOK_MS, signal: over.signal };
      const told = hypervisor
        .guestExec(id, program)
        .then(({ exitCode, stderr }) =>
          exitCode === 0 ? undefined : stderr.trim().slice(0, 300) || `ended with ${exitCode}`,
        );
      told.catch(() => undefined); // looked at below, unless the cards were faster
      const cards = seen(hypervisor, id, identity, over.signal);
      const why = await Promise.race([told, cards.then((are) => (are ? undefined : told))]);
      if (why === undefined || ++refusals >= ATTEMPTS) return why;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      // Its guest agent may have been in the middle of something when it was saved.
      if (performance.now() > deadline) return error.message;
    } finally {
      over.abort();
    }
  }
}

/**
 * Resolves once the cards have their new hardware addresses, which is the last thing that has to be: a busy guest's agent takes much longer to say so.
 * @returns false where they do not tell, or once the signal is aborted
 */
async function seen(
  hypervisor: Hypervisor,
  id: MachineId,
  { cards }: Identity,
  signal: AbortSignal,
): Promise<boolean> {
  while (!signal.aborted) {
    const macs = await hypervisor.guestMacs(id);
    if (macs.length === 0) break;
    if (cards.every(({ mac }) => macs.includes(mac))) return true;
    await new Promise((resolve) => setTimeout(resolve, SEEN_MS));
  }
  return false;
}
