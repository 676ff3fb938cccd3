/** A machine's interfaces on networks, and how much it may send and receive on each (spec.networkLimits). */
import { type Static, Type } from "typebox";
import { type Cause, invalidValue } from "../resource/errors.ts";
import { Name, rules } from "../resource/kind.ts";
import { PerSecond, Port } from "./disks/kinds.ts";

const IPv4 = Type.String({ pattern: "^(\\d{1,3}\\.){3}\\d{1,3}$" });
const Mac = Type.String({ pattern: "^([0-9a-f]{2}:){5}[0-9a-f]{2}$" });

const networkInterface = {
  network: Name("The Network it is attached to."),
  mac: Mac,
  address: IPv4,
  port: Port,
};
export const NetworkInterface = Type.Object(networkInterface);

const limits = {
  receiveBytesPerSecond: PerSecond("Bytes that come to the guest,"),
  sendBytesPerSecond: PerSecond("Bytes that the guest sends"),
};
const NicLimits = Type.Object(limits);
export type NicLimits = Static<typeof NicLimits>;

/** One of a run. */
export const RunInterface = Type.Object({ ...networkInterface, limits: Type.Optional(NicLimits) });
export type RunInterface = Static<typeof RunInterface>;

/** Of VirtualMachine.spec.networkLimits. */
export const NetworkLimit = Type.Object(
  { network: Name("One of spec.networks."), ...limits },
  rules({
    rule: "has(self.receiveBytesPerSecond) || has(self.sendBytesPerSecond)",
    message:
      "says no limit: give receiveBytesPerSecond, sendBytesPerSecond or both, or leave the network out",
    fieldPath: ".sendBytesPerSecond",
    reason: "FieldValueRequired",
  }),
);
export type NetworkLimit = Static<typeof NetworkLimit>;

interface Spec {
  networks: readonly string[];
  networkLimits?: readonly NetworkLimit[];
}

/** What does not fit to the machine's networks. */
export const checkNetworkLimits = ({ networks, networkLimits = [] }: Spec): Cause[] =>
  networkLimits.flatMap(({ network }, i) =>
    networks.includes(network)
      ? []
      : [
          invalidValue(
            `spec.networkLimits[${i}].network`,
            network,
            "is none of spec.networks; take the limit away, too",
          ),
        ],
  );

/** The interface as a run has it, with the limits that its machine's spec has for it now, and no others. */
export function limited(
  nic: RunInterface,
  { networkLimits = [] }: Pick<Spec, "networkLimits">,
): RunInterface {
  const { limits: _, ...rest } = nic;
  const { network: _network, ...now } = networkLimits.find(({ network }) => network === nic.network) ?? {};
  return Object.keys(now).length > 0 ? { ...rest, limits: now } : rest;
}
