/** The kind Network. */
import { Type } from "typebox";
import { defineKind, immutable, type ObjectOf, rules } from "../../resource/kind.ts";

export const Network = defineKind({
  kind: "Network",
  plural: "networks",
  shortNames: ["net"],
  namespaced: false,
  description: "Network is a layer 2 network that spans all hosts, with addresses given by DHCP.",
  spec: Type.Object(
    {
      subnet: Type.String({
        pattern: "^(\\d{1,3}\\.){3}\\d{1,3}/\\d{1,2}$",
        description: "IPv4 subnet in CIDR form; its first address is the gateway.",
      }),
      nat: Type.Boolean({
        default: true,
        description: "Whether machines reach the outside through their host.",
      }),
      vni: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 16777215,
          description: "VXLAN network identifier; derived from the subnet by default.",
        }),
      ),
      mtu: Type.Integer({
        default: 1450,
        minimum: 576,
        maximum: 9000,
        description: "MTU of the guests' interfaces.",
      }),
      antiSpoofing: Type.Optional(
        Type.Boolean({
          description:
            "Whether machines may only speak with the MAC and address that they were given: true when absent. False for machines that are routers, or share an address.",
        }),
      ),
    },
    rules(
      immutable("subnet", "cannot be changed; make another network"),
      immutable("vni", "cannot be changed; make another network", true),
      immutable("mtu", "cannot be changed, running machines have it; make another network"),
    ),
  ),
  columns: [
    { name: "Subnet", type: "string", jsonPath: ".spec.subnet" },
    { name: "NAT", type: "boolean", jsonPath: ".spec.nat" },
  ],
});
export type Network = ObjectOf<typeof Network>;
