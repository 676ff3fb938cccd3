/** How often a host gives out what it has: Host.spec.overcommit. What comes of it is in given-out.ts. */
import { type Static, Type } from "typebox";
import { AS_ONE, rules } from "../../resource/kind.ts";
import { OVERCOMMIT } from "./given-out.ts";

export { givenOutBy, OVERCOMMIT } from "./given-out.ts";

export const HostOvercommit = Type.Object(
  {
    cpu: Type.Optional(
      Type.Number({
        minimum: 0.25,
        maximum: 16,
        description: `Virtual CPUs for each logical processor; ${OVERCOMMIT} by default. A host with more gives none to one machine alone (spec.resources.dedicatedCpus).`,
      }),
    ),
    memory: Type.Optional(
      Type.Number({
        minimum: 0.25,
        maximum: 2,
        description:
          "Share of the memory that it has for machines; 1 by default. Beyond 1 as far as the host has swap, on a disk: no machine starts there whose memory would be nowhere.",
      }),
    ),
  },
  {
    ...AS_ONE,
    ...rules({ rule: "has(self.cpu) || has(self.memory)", message: "say cpu or memory" }),
    description:
      "How much the host gives out of what it has. Policies of machines there may say less for it (Policy.spec.overcommit), never more.",
  },
);
export type HostOvercommit = Static<typeof HostOvercommit>;
