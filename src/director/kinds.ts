/** The director's kinds: Policy (what users want) and Plan (what the director means to do about it, and why). */
import { type Static, Type } from "typebox";
import { Transfer } from "../compute/migrations/kinds.ts";
import { AS_ONE, Conditions, defineKind, Name, type ObjectOf, rules, Words } from "../resource/kind.ts";
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
              "Room is kept free so that all of the chosen machines can start elsewhere when hosts, racks or sites are lost: proven by placing those of each loss on what would be left, with all their required rules. Nothing comes to a host where it would break that. A required rule.",
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

/** What a move costs and gains. Each as far as it is known. */
const Effect = Type.Object({
  seconds: Type.Optional(Type.Number({ description: "From its beginning until it runs there." })),
  bytes: Type.Optional(Type.Integer({ description: "Sent over the network, memory and disks." })),
  diskBytes: Type.Optional(Type.Integer({ description: "Of these, of disks that went along." })),
  downtimeMs: Type.Optional(Type.Integer({ description: "How long the guest stands still." })),
  score: Type.Optional(
    Type.Number({
      description: "By how much the machine likes its host better, by its policy; from -1 to 1.",
    }),
  ),
  watts: Type.Optional(
    Type.Number({
      description:
        "By how much both hosts together take more, by their power figures and the CPUs given out; below 0: less.",
    }),
  ),
});
export type Effect = Static<typeof Effect>;

const HostFigures = Type.Object({
  machines: Type.Integer(),
  cpus: Type.Integer({ description: "Given out to machines." }),
  memoryBytes: Type.Integer({ description: "Given out to machines." }),
  watts: Type.Optional(
    Type.Number({ description: "By its power figures and what its machines are expected to use." }),
  ),
  expectedCpus: Type.Optional(
    Type.Number({ description: "Processors that its machines are expected to use, for these watts." }),
  ),
});
export type HostFigures = Static<typeof HostFigures>;

const BothHosts = Type.Object({
  from: Type.Optional(HostFigures),
  to: Type.Optional(HostFigures),
  score: Type.Optional(Type.Number({ description: "Of the machine, where it is." })),
  expectedCpus: Type.Optional(
    Type.Number({ description: "Processors that the machine is expected to use." }),
  ),
});
export type BothHosts = Static<typeof BothHosts>;

const Seen = Type.Object({
  cpus: Type.Number({ description: "Processors that its machines used." }),
  watts: Type.Optional(Type.Number({ description: "By its power figures and that." })),
});

const Measured = Type.Object(
  {
    time: Type.String(),
    cpus: Type.Number({ description: "Processors that the machine used." }),
    from: Type.Optional(Seen),
    to: Type.Optional(Seen),
    watts: Type.Optional(
      Type.Number({
        description:
          "By how much both hosts took more because the machine was where it came to, by what machines used; below 0: less.",
      }),
    ),
    expectedWatts: Type.Optional(
      Type.Number({ description: "The same by what they were expected to use when the move ended." }),
    ),
  },
  {
    description:
      "What machines used some minutes after the plan was over, beside what was expected of them (after); absent where it was not measured, or the machine was elsewhere by then.",
  },
);
export type Measured = Static<typeof Measured>;

/** Of the estate in all. What nobody tells is absent. */
const EstateFigures = Type.Object({
  hostsInUse: Type.Integer({ description: "Hosts with machines: those that have to be on." }),
  watts: Type.Optional(
    Type.Number({ description: "Of these hosts, by their power figures and the CPUs given out." }),
  ),
  hostsWithoutWatts: Type.Optional(
    Type.Integer({ description: "Of these hosts, those that do not tell what they take: not in the sums." }),
  ),
  costPerHour: Type.Optional(
    Type.Number({ description: "Of these watts with what the building takes, at sites that have a price." }),
  ),
  carbonGramsPerHour: Type.Optional(Type.Number({ description: "The same of CO2." })),
  rulesBroken: Type.Integer({
    description:
      "Of each policy the machines that its rules do not let be where they are. Machines without a host and what failover reserves are not counted.",
  }),
});
export type EstateFigures = Static<typeof EstateFigures>;

const Outlook = Type.Object(
  {
    before: EstateFigures,
    after: EstateFigures,
    hosts: Type.Array(
      Type.Object({
        name: Type.String(),
        capacity: Type.Object({
          cpus: Type.Integer(),
          memoryBytes: Type.Integer(),
          watts: Type.Optional(Type.Number({ description: "At full load." })),
        }),
        before: HostFigures,
        after: HostFigures,
      }),
      { description: "Those that the moves leave and reach, what changes most first; 60 at most." },
    ),
    moreHosts: Type.Optional(Type.Integer({ description: "So many are not among hosts." })),
  },
  {
    description:
      "Hosts before the first move, and after all of them, as predicted; of a proposal, as it was when that was made.",
  },
);
export type Outlook = Static<typeof Outlook>;

/** Of plans, in the order in which they are made. */
export const AUTOMATIONS = ["act", "ask", "advise"] as const;

export const Plan = defineKind({
  kind: "Plan",
  plural: "plans",
  namespaced: false,
  madeByVireo: true,
  description:
    "Plan is an ordered set of live migrations, each with its reason. Immutable once made, but for its approval; status tells how it goes.",
  spec: Type.Object(
    {
      trigger: Type.String({ description: "What changed that made the director plan." }),
      undoes: Type.Optional(Name("The Plan whose moves it takes back, because a user asked for it.")),
      automation: Words([...AUTOMATIONS], { default: "act" }),
      approval: Type.Optional(
        Words(["Approved", "Rejected"], {
          description:
            "By a user. Approved, what was only proposed is carried out. Rejected, it is not, and what is being carried out is stopped: moves that have begun are cancelled, the others not made.",
        }),
      ),
      moves: Type.Array(
        Type.Object({
          namespace: Type.String(),
          vm: Name("The machine."),
          from: Name("Its host now."),
          to: Name("Where it goes."),
          reason: Type.String(),
          policy: Type.Optional(Type.String()),
          policyGeneration: Type.Optional(
            Type.Integer({
              description:
                "Of the policy as it was planned by: when that has changed, the move is not begun.",
            }),
          ),
          needed: Type.Optional(
            Type.Boolean({
              description:
                "It has to go: its host is to be left or too busy, or a required rule is broken. Such a move goes before those that only gain.",
            }),
          ),
          expected: Type.String({ description: "What the move should gain." }),
          predicted: Type.Optional(Effect),
        }),
        { minItems: 1 },
      ),
    },
    rules(
      {
        rule: "self.trigger == oldSelf.trigger && self.automation == oldSelf.automation && self.moves == oldSelf.moves && has(self.undoes) == has(oldSelf.undoes) && (!has(self.undoes) || self.undoes == oldSelf.undoes)",
        message: "a plan is immutable, but for spec.approval; make another one",
        reason: "FieldValueForbidden",
      },
      {
        rule: "!has(self.approval) || self.approval == 'Rejected' || self.automation != 'act'",
        message: "a plan that acts (spec.automation) needs no approval; Rejected stops it",
        fieldPath: ".approval",
      },
      {
        rule: "!has(oldSelf.approval) || (has(self.approval) && (self.approval == oldSelf.approval || self.approval == 'Rejected'))",
        message: "was decided already; Approved may still become Rejected",
        reason: "FieldValueForbidden",
        fieldPath: ".approval",
      },
    ),
  ),
  // Owner of status: the plan executor.
  status: Type.Object({
    phase: Type.Optional(
      Words(["Proposed", "Held", "Running", "Succeeded", "Failed", "Superseded", "Rejected"], {
        description:
          "Proposed: it is carried out once a user approves it, or is mere advice. Held: approved, and what is left of it waits for the end of quiet hours. Superseded: the estate has overtaken it. Rejected: by a user, before it began or while it went on.",
      }),
    ),
    done: Type.Optional(Type.Integer()),
    endedTime: Type.Optional(Type.String({ description: "When it was over, whatever came of it." })),
    // Owner: the planner.
    superseded: Type.Optional(
      Type.String({
        description:
          "Why its moves that had not begun are not made any more: what has to go first. Those that had begun go on.",
      }),
    ),
    outlook: Type.Optional(Outlook),
    moves: Type.Optional(
      Type.Array(
        Type.Object({
          phase: Words(["Waiting", "Running", "Succeeded", "Failed", "Skipped"]),
          migration: Type.Optional(Type.String()),
          message: Type.Optional(
            Type.String({ description: "What it waits for, why it was not made, or what came of it." }),
          ),
          memoryBytes: Type.Optional(Type.Integer({ description: "What the machine had as it began." })),
          toSendBytes: Type.Optional(
            Type.Integer({
              description: "How much was to be sent for that, by how fast the guest wrote to it then.",
            }),
          ),
          linkMbps: Type.Optional(
            Type.Integer({ description: "What it might use of the slower link of the two hosts." }),
          ),
          before: Type.Optional(BothHosts),
          after: Type.Optional(BothHosts),
          actual: Type.Optional(Effect),
          measured: Type.Optional(Measured),
        }),
      ),
    ),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Done", type: "integer", jsonPath: ".status.done" },
    { name: "Trigger", type: "string", jsonPath: ".spec.trigger" },
  ],
  selectableFields: ["status.phase"],
});
export type Plan = ObjectOf<typeof Plan>;

export {
  calledOff,
  endOf,
  isCarriedOut,
  isFinalPlan,
  isGoingOn,
  isHeld,
  isPlanOpen,
  isPlanUnderWay,
  isProposal,
  isRejected,
} from "./planning/plan-standing.ts";
