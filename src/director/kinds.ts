/** Policy: what users want of hosts and machines. What the director means to do about it is a Plan (planning/kinds.ts). */
import { Type } from "typebox";
import { Transfer } from "../compute/migrations/kinds.ts";
import { AS_ONE, Conditions, defineKind, type ObjectOf, rules, Words } from "../resource/kind.ts";
import { Selector } from "../resource/selector-schema.ts";
import { Window } from "../resource/window.ts";
import { RULE_HELP } from "./rules/expressions.ts";
import { Overcommit } from "./rules/overcommit.ts";
import { POLICY_V1 } from "./rules/policy-v1.ts";

/** Where machines fail together. */
export const DOMAINS = ["host", "rack", "row", "feed", "site"] as const;
type Domain = (typeof DOMAINS)[number];

/** Domains that each lies in whole, besides itself. */
const AROUND: Record<Domain, readonly Domain[]> = {
  host: ["rack", "row", "feed", "site"],
  rack: ["row", "site"],
  row: ["site"],
  feed: ["site"],
  site: [],
};
export const isWithin = (inner: Domain, outer: Domain): boolean =>
  inner === outer || AROUND[inner].includes(outer);

export const GOALS = ["performance", "energy", "cost", "carbon", "balanced", "packing", "licences"] as const;
export type Goal = (typeof GOALS)[number];

/** How long, and how many, is limited where they are written (checks.ts): those of older versions go on to hold. */
const Rule = (description?: string) => Type.String({ minLength: 1, ...(description ? { description } : {}) });

export const Policy = defineKind({
  kind: "Policy",
  version: "v2",
  versions: [POLICY_V1],
  plural: "policies",
  shortNames: ["pol"],
  namespaced: true,
  description: "Policy says where the machines it chooses should run.",
  spec: Type.Object(
    {
      selector: Selector("Chooses machines by their labels; empty chooses all of the namespace."),
      goals: Type.Optional(
        Type.Array(
          Type.Object({
            goal: Words(GOALS, {
              description:
                "performance: the fastest host with the least contention. energy, cost, carbon: the fewest additional watts, what they cost, what they emit (by the Sites). balanced: speed, room and watts together. packing: the fullest hosts. licences: the fewest hosts, of the fewest sockets, that have machines of this policy.",
            }),
            weight: Type.Integer({ default: 1, minimum: 1, maximum: 100, description: "Beside the others." }),
            during: Type.Optional(Window),
          }),
          {
            minItems: 1,
            maxItems: 20,
            description:
              "What hosts are liked for. Of goals with `during` those count whose time it is; when it is that of none, those without. balanced when there is none.",
          },
        ),
      ),
      required: Type.Optional(
        Type.Array(Rule(), {
          description: `Rules, 50 at most: a host that breaks one is never used. Each is ${RULE_HELP}`,
        }),
      ),
      preferred: Type.Optional(
        Type.Array(
          Type.Object({
            rule: Rule("As in spec.required."),
            weight: Type.Integer({ minimum: 1, maximum: 100 }),
          }),
          { description: "Hosts that keep these are liked, by weight; 50 at most." },
        ),
      ),
      keepTogether: Type.Optional(
        Words(DOMAINS, { description: "The chosen machines share one of these. A required rule." }),
      ),
      keepApart: Type.Optional(
        Words(DOMAINS, {
          description: "No two of the chosen machines share one of these. A required rule.",
        }),
      ),
      spread: Type.Optional(
        Words(DOMAINS, {
          description: "Numbers in any two of these differ by one at most. A required rule.",
        }),
      ),
      atMost: Type.Optional(
        Type.Object(
          {
            per: Words(DOMAINS),
            machines: Type.Optional(Type.Integer({ minimum: 1, description: "So many of them." })),
            percent: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 100,
                description:
                  "Or this share of all that the policy chooses, rounded down; while some of them are off, of those that are to run, rounded up, if that is less. One in any case.",
              }),
            ),
          },
          {
            description:
              "How many of the chosen machines one host, rack, row, power feed or site may have, so that losing it takes no more. A required rule.",
            ...AS_ONE,
            ...rules({
              rule: "has(self.machines) != has(self.percent)",
              message: "say either machines or percent",
            }),
          },
        ),
      ),
      overcommit: Type.Optional(Overcommit),
      failover: Type.Optional(
        Type.Object(
          {
            per: Words(DOMAINS),
            losses: Type.Integer({
              minimum: 1,
              maximum: 4,
              description: "Any so many of these hosts, racks or sites may be lost at once.",
            }),
          },
          {
            ...AS_ONE,
            description:
              "Room is kept free so that all of the chosen machines can start elsewhere when hosts, racks or sites are lost: proven by placing those of each loss on what would be left, with all their required rules. Nothing comes to a host where it would break that. A required rule. Only who may update policies in the whole cluster may write it.",
          },
        ),
      ),
      automation: Words(["act", "ask", "advise", "off"], {
        default: "act",
        description:
          "act: plans are made and carried out. ask: once a user has approved them (vireo plan approve). advise: they are only made. off: not even that; machines stay where they were placed. Of several policies that choose a machine the most cautious counts: off, then advise, ask, act.",
      }),
      moves: Type.Optional(
        Type.Object(
          {
            perHour: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 10_000,
                description: "So many of its machines, whoever moved them.",
              }),
            ),
            concurrent: Type.Optional(
              Type.Integer({ minimum: 1, maximum: 1000, description: "So many of its machines at once." }),
            ),
            minimumStayMinutes: Type.Optional(
              Type.Integer({
                minimum: 5,
                maximum: 525_600,
                description:
                  "A machine stays so long where it came to, unless a rule is broken there; 5 when absent.",
              }),
            ),
            quiet: Type.Optional(
              Type.Array(Window, {
                minItems: 1,
                maxItems: 20,
                description:
                  "In these times no move is begun; proposals are made, and wait for their end when they are approved.",
              }),
            ),
            never: Type.Optional(
              Type.Boolean({
                description: "No machine is moved while it runs, by users neither. A required rule.",
              }),
            ),
          },
          {
            ...AS_ONE,
            description:
              "Limits of moves that the director makes by itself; those of all policies of a machine hold. Hosts in maintenance are left, and plans undone, regardless of perHour and quiet.",
          },
        ),
      ),
      transfer: Type.Optional(Transfer),
      priority: Type.Integer({
        default: 0,
        minimum: -1000,
        maximum: 1000,
        description:
          "When several policies choose a machine, the highest gives the goals, and how it is sent; rules of all hold, and the most cautious automation.",
      }),
    },
    rules({
      rule: "!(has(self.keepApart) && has(self.keepTogether) && (self.keepTogether == 'host' || self.keepApart == 'site' || self.keepTogether == self.keepApart || (self.keepTogether == 'rack' && self.keepApart == 'row')))",
      message: "can never hold together with spec.keepTogether",
      fieldPath: ".keepApart",
    }),
  ),
  // Owner of status: the director.
  status: Type.Object({
    machines: Type.Optional(Type.Integer({ description: "How many machines it chooses." })),
    goal: Type.Optional(Type.String({ description: "What it aims at now." })),
    observedGeneration: Type.Optional(Type.Integer()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Goal", type: "string", jsonPath: ".status.goal" },
    { name: "Machines", type: "integer", jsonPath: ".status.machines" },
    { name: "Satisfied", type: "string", jsonPath: ".status.conditions[?(@.type=='Satisfied')].status" },
  ],
  // A host that has one of its machines gives out less to all; room is kept of the whole estate.
  estateFields: ["overcommit", "failover"],
});
export type Policy = ObjectOf<typeof Policy>;

/** The highest priority first; ties by name. */
export const byPriority = (a: Policy, b: Policy): number =>
  b.spec.priority - a.spec.priority || (a.metadata.name < b.metadata.name ? -1 : 1);

/**
 * How many machines one place may have at most. Rounded up while some are off: a policy that can be kept by all could else not be by what is left of them (of four
 * machines on two sites, 50 % per site, one stopped: the other three). @param chosen how many the policy chooses @param running those of them that are to run
 */
export const mostOf = (
  { machines, percent = 100 }: NonNullable<Policy["spec"]["atMost"]>,
  chosen: number,
  running = chosen,
): number => {
  const [all, most] = [Math.floor((chosen * percent) / 100), Math.ceil((running * percent) / 100)];
  return machines ?? Math.max(1, Math.min(all, most));
};
