/**
 * DHCP and DNS of one network on this host: a dnsmasq that gives known machines their fixed addresses, and nobody else any. It
 * outlives the agent; the next agent finds it by its pid file.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gatewayOf, numberToAddress, type Subnet } from "../../resource/subnet.ts";
import { identify } from "../../system/process.ts";
import { run } from "../../system/run.ts";

/** How long it may take to end. */
const STOP_MS = 5000;

export interface Reservation {
  mac: string;
  address: string;
  hostname: string;
}

export class Dnsmasq {
  readonly #folder: string;
  readonly #leases: string;
  readonly #options: { bridge: string; subnet: Subnet; mtu: number };

  constructor(options: {
    stateFolder: string;
    network: string;
    bridge: string;
    subnet: Subnet;
    mtu: number;
  }) {
    this.#folder = join(options.stateFolder, "dhcp", options.network);
    this.#leases = join(this.#folder, "leases");
    this.#options = options;
    // dnsmasq reads the hosts file again as its own unprivileged user.
    mkdirSync(this.#folder, { recursive: true, mode: 0o755 });
  }

  /** Starts it when it does not run; has it read the reservations again when they changed. */
  async ensure(reservations: readonly Reservation[]): Promise<void> {
    const hosts = join(this.#folder, "hosts");
    const text = reservations
      .map(({ mac, address, hostname }) => `${mac},${address},${hostname},infinite\n`)
      .sort()
      .join("");
    const changed = !existsSync(hosts) || readFileSync(hosts, "utf8") !== text;
    if (changed) {
      writeFileSync(`${hosts}.new`, text, { mode: 0o644 });
      renameSync(`${hosts}.new`, hosts);
    }
    const pid = runningPid(this.#folder);
    if (pid === undefined) await this.#start(hosts);
    else if (this.#hasStaleLease(reservations)) {
      await this.#stop(pid);
      await this.#start(hosts);
    } else if (changed) process.kill(pid, "SIGHUP");
  }

  /** A lease of a machine that is gone: as long as dnsmasq knows it, it gives the address to nobody else. It forgets none but by a new start. */
  #hasStaleLease(reservations: readonly Reservation[]): boolean {
    const macs = new Map(reservations.map(({ mac, address }) => [address, mac]));
    return readLeases(this.#leases).some(({ mac, address }) => (macs.get(address) ?? mac) !== mac);
  }

  async #stop(pid: number): Promise<void> {
    process.kill(pid, "SIGTERM");
    const deadline = Date.now() + STOP_MS;
    while (runningPid(this.#folder) !== undefined) {
      if (Date.now() > deadline) throw new Error(`dnsmasq (process ${pid}) does not end on SIGTERM`);
      await sleep(5);
    }
  }

  /** Without leases: reservations are all that counts, and whoever has an address keeps it. */
  async #start(hosts: string): Promise<void> {
    rmSync(this.#leases, { force: true });
    const { bridge, subnet, mtu } = this.#options;
    const gateway = gatewayOf(subnet);
    await run("dnsmasq", [
      "--conf-file=/dev/null",
      `--pid-file=${join(this.#folder, "pid")}`,
      `--interface=${bridge}`,
      "--bind-interfaces",
      "--except-interface=lo",
      `--dhcp-range=${numberToAddress(subnet.base)},static`,
      `--dhcp-hostsfile=${hosts}`,
      `--dhcp-leasefile=${this.#leases}`,
      "--dhcp-ignore=tag:!known",
      "--dhcp-authoritative",
      "--dhcp-no-override",
      "--no-ping",
      `--dhcp-option-force=26,${mtu}`,
      `--dhcp-option=3,${gateway}`,
      `--dhcp-option=6,${gateway}`,
      "--no-hosts",
      "--quiet-dhcp",
    ]);
  }

  /** The networks that have one, or had, from this state folder. */
  static networks(stateFolder: string): string[] {
    const folder = join(stateFolder, "dhcp");
    return existsSync(folder) ? readdirSync(folder) : [];
  }

  /** Stops a network's, if it runs, and forgets it. */
  static stop(stateFolder: string, network: string): void {
    const folder = join(stateFolder, "dhcp", network);
    const pid = runningPid(folder);
    if (pid !== undefined) process.kill(pid, "SIGTERM");
    rmSync(folder, { recursive: true, force: true });
  }

  /** Stops every dnsmasq that was started from this state folder. */
  static async stopAll(stateFolder: string): Promise<void> {
    for (const network of Dnsmasq.networks(stateFolder)) Dnsmasq.stop(stateFolder, network);
  }
}

/** Lines of "expiry MAC address name client-id". */
function readLeases(file: string): { mac: string; address: string }[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.map((line) => {
    const [, mac = "", address = ""] = line.split(" ");
    return { mac, address };
  });
}

/** The process of the pid file, when it is really a dnsmasq of this folder. */
function runningPid(folder: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(folder, "pid"), "utf8"));
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return identify(pid) && command.includes(join(folder, "pid")) ? pid : undefined;
  } catch {
    return undefined;
  }
}
