/** IPv4 arithmetic of networks. Pure. */

export interface Subnet {
  /** First address, as a number. */
  base: number;
  prefixLength: number;
}

export function addressToNumber(text: string): number {
  return text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function numberToAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}

/** "10.77.0.0/24"; has passed the Network's checks. */
export function parseSubnet(cidr: string): Subnet {
  const [address = "", length = ""] = cidr.split("/");
  return { base: addressToNumber(address), prefixLength: Number(length) };
}

const sizeOf = ({ prefixLength }: Subnet) => 2 ** (32 - prefixLength);

/** "10.0.9.17/24" -> "10.0.9.0/24" */
export function networkOf(cidr: string): string {
  const subnet = parseSubnet(cidr);
  return `${numberToAddress(Math.floor(subnet.base / sizeOf(subnet)) * sizeOf(subnet))}/${subnet.prefixLength}`;
}

/** "10.0.9.0/24" -> "10.0.9.255" */
export function broadcastOf(network: string): string {
  const subnet = parseSubnet(network);
  return numberToAddress(subnet.base + sizeOf(subnet) - 1);
}

/** 20 -> "255.255.240.0" */
export const netmaskOf = (prefixLength: number) => numberToAddress(2 ** 32 - 2 ** (32 - prefixLength));

/** The gateway is the first address; the second is kept for a control machine's own leg (see the cli's devnet.ts). */
export const gatewayOf = (subnet: Subnet) => numberToAddress(subnet.base + 1);
export const reservedOf = (subnet: Subnet) => numberToAddress(subnet.base + 2);

/** The VXLAN identifier of a network without one of its own: made from its subnet, which no two networks share. */
export function vniOf(spec: { vni?: number; subnet: string }): number {
  const { base, prefixLength } = parseSubnet(spec.subnet);
  return spec.vni ?? ((Math.floor(base / 256) ^ (prefixLength * 7919)) % 16_777_214) + 1;
}
