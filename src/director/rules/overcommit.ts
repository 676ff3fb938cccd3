/**
 * Policy.spec.overcommit: how much of what a host has may be given out where machines of the policy are, to all that are there. And how a host's resources and
 * what machines take of them are called. Pure.
 */
import { type Static, Type } from "typebox";
import { AS_ONE, rules } from "../../resource/kind.ts";
import { formatBytes } from "../../resource/quantity.ts";

const Share = (of: string, most = 16) =>
  Type.Optional(Type.Number({ minimum: 0.05, maximum: most, description: of }));

export const Overcommit = Type.Object(
  {
    cpu: Share(
      "Virtual CPUs for each logical processor; no more than its host gives out (Host.spec.overcommit).",
    ),
    memory: Share("Share of the memory that it has for machines, likewise.", 2),
    iops: Share("Requests a second by machines' limits, for each one of the host's budget."),
    diskBandwidth: Share("Bytes a second of disks, likewise."),
    networkBandwidth: Share(
      "Bytes a second of networks, likewise; where a host has no budget, of its fastest link.",
    ),
  },
  {
    ...AS_ONE,
    ...rules({
      rule: "has(self.cpu) || has(self.memory) || has(self.iops) || has(self.diskBandwidth) || has(self.networkBandwidth)",
      message: "say cpu, memory, iops, diskBandwidth or networkBandwidth",
    }),
    description:
      "A host that has any of the chosen machines gives out at most so much of what it has, to all machines that are there. Nothing comes to it that would make it more. A required rule. Only who may update policies in the whole cluster may write it.",
  },
);
export type Overcommit = Static<typeof Overcommit>;

/** How much of what a host has may be given out at most. @param share a policy's; undefined: it does not say @param base what that is a share of */
export const mostGivenOut = (share: number | undefined, has: number, base: number): number =>
  share === undefined ? has : Math.min(has, share * base);

const MiB = 2 ** 20;
const size = (bytes: number) => formatBytes(Math.floor(bytes / MiB) * MiB);
const rate = (bytes: number) => `${size(bytes)} a second`;

/** In the order of the estate's resources (estate-model.ts), the declared ones; a policy's field for each, and how it is told. */
export const TOLD = [
  { field: "cpu", what: "CPUs", amount: String, are: "are" },
  { field: "memory", what: "memory", amount: size, are: "is" },
  { field: "iops", what: "disk requests a second", amount: String, are: "are" },
  { field: "diskBandwidth", what: "disk bandwidth", amount: rate, are: "is" },
  { field: "networkBandwidth", what: "network bandwidth", amount: rate, are: "is" },
] as const satisfies readonly {
  field: keyof Overcommit;
  what: string;
  amount: (n: number) => string;
  are: string;
}[];

/** "needs 3 CPUs, 1 of 8 are free" @param because why it is not all that the host has */
export function lackInWords(r: number, needs: number, free: number, all: number, because = ""): string {
  const { what, amount, are } = TOLD[r] ?? TOLD[0];
  return `needs ${amount(needs)} ${what}, ${amount(Math.max(0, free))} of ${amount(all)} ${are} free${because}`;
}
