/** Plan: what the director means to do, move by move, and why; what it predicted, and what came of it. */
import { type Static, Type } from "typebox";
import { Conditions, defineKind, Name, type ObjectOf, rules, Words } from "../../resource/kind.ts";

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
} from "./plan-standing.ts";
