/** Is the guest ready? Asked as its VirtualMachine says: by HTTP, by TCP, or of the guest agent. */

import { connect, isIP } from "node:net";
import type { Instance } from "../../compute/kinds.ts";
import { isFields } from "../../resource/fields.ts";
import type { Hypervisor, MachineId } from "../hypervisor.ts";
import { idOf } from "./instance-status.ts";

const TIMEOUT_MS = 2000;
/** What a guest says of itself goes into the status: not more than a sound one has. */
const MAX_ADDRESSES = 32;

export interface ProbeResult {
  ready: boolean;
  /** What was seen, for people. */
  message: string;
}

/** Bounded by 2 s. */
export async function probe(
  instance: Instance,
  hypervisor: Pick<Hypervisor, "guestAgent">,
): Promise<ProbeResult> {
  const { readiness, interfaces } = instance.spec;
  const address = interfaces[0]?.address;
  if (readiness?.http && address) {
    const { port, path = "/" } = readiness.http;
    return http(`http://${address}:${port}${path}`);
  }
  if (readiness?.tcp && address) return tcp(address, readiness.tcp.port);
  if (readiness?.none) return { ready: true, message: "it runs (spec.readiness.none)" };
  const answer = await hypervisor.guestAgent(idOf(instance), "guest-info", TIMEOUT_MS);
  return answer === undefined
    ? { ready: false, message: "the guest agent does not answer yet" }
    : { ready: true, message: "the guest agent answers" };
}

async function http(url: string): Promise<ProbeResult> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: "manual",
      headers: { connection: "close" },
    });
    await response.body?.cancel();
    const ready = response.status < 400;
    return { ready, message: `${url} answered ${response.status}` };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { ready: false, message: `${url}: ${cause instanceof Error ? cause.message : String(cause)}` };
  }
}

function tcp(host: string, port: number): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: TIMEOUT_MS });
    const end = (ready: boolean, message: string) => {
      socket.destroy();
      resolve({ ready, message: `${host}:${port} ${message}` });
    };
    socket.on("connect", () => end(true, "accepts"));
    socket.on("timeout", () => end(false, "did not answer"));
    socket.on("error", (error) => end(false, error.message));
  });
}

/** Addresses the guest itself reports (IPv4, without loopback); undefined when it has no agent. */
export async function guestAddresses(
  hypervisor: Pick<Hypervisor, "guestAgent">,
  id: MachineId,
): Promise<string[] | undefined> {
  const answer = await hypervisor.guestAgent(id, "guest-network-get-interfaces", TIMEOUT_MS);
  if (!Array.isArray(answer)) return undefined;
  return answer
    .filter(isFields)
    .flatMap((link) => (Array.isArray(link["ip-addresses"]) ? link["ip-addresses"] : []))
    .filter(isFields)
    .filter((address) => address["ip-address-type"] === "ipv4")
    .map((address) => String(address["ip-address"]))
    .filter((address) => isIP(address) === 4 && !address.startsWith("127."))
    .slice(0, MAX_ADDRESSES);
}
