/**
 * Power of hosts: the pieces of the kind Host that say how a host is switched on and off, and the rules about them that others read.
 *
 *   spec.bmc            how its power is reached: IPMI or Redfish; Wake-on-LAN as last choice, which can only wake
 *   spec.power          what is asked for: On, Off (its system is asked to shut down), ForceOff (the power is cut)
 *   status.power.task   what is being done about it. Written before anything is pressed, so that whoever leads next goes on with it
 *
 *   Off, ForceOff:  task ──► pressed ──► the BMC says off ──► over
 *   WakeTest:       task, GoingOff ──► the BMC says off ──► GoingOn, pressed ──► its agent has started anew ──► passed
 *
 * No machine loses its host by this (rule 5): a task that switches off is accepted only while no run on the host may hold disks, and while there is one,
 * or Off is asked for, no run is bound to the host. Both are rules of the store's writes (checks.ts here and compute/checks.ts), so they hold
 * against late and doubled leaders, too.
 */
import { type Static, Type } from "typebox";
import { AS_ONE, Name, rules, Words } from "../resource/kind.ts";
import { Window } from "../resource/window.ts";

const ADDRESS = "^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$";

const Ipmi = Type.Object(
  {
    address: Type.String({ pattern: ADDRESS, description: "Host name or IP address of the BMC." }),
    port: Type.Integer({ minimum: 1, maximum: 65535, default: 623, description: "Its UDP port." }),
    cipherSuite: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 17,
        description:
          "The IPMI cipher suite, for BMCs that cannot be asked which they know: 17, or 3 for old ones.",
      }),
    ),
  },
  { description: "IPMI 2.0 over LAN (RMCP+), through ipmitool." },
);
export type Ipmi = Static<typeof Ipmi>;

const Redfish = Type.Object(
  {
    url: Type.String({
      pattern: "^https://[A-Za-z0-9.:\\[\\]-]{1,262}$",
      description: "https://HOST or https://HOST:PORT, without a path.",
    }),
    system: Type.String({
      pattern: "^[A-Za-z0-9._-]{1,128}$",
      description: "The id of its ComputerSystem, as in /redfish/v1/Systems/ID: 1, System.Embedded.1.",
    }),
    ca: Type.Optional(
      Type.String({
        maxLength: 65536,
        pattern: "^-----BEGIN CERTIFICATE-----",
        description:
          "CA of its certificate, PEM. Without it and fingerprint: one that the control plane's machine trusts.",
      }),
    ),
    fingerprint: Type.Optional(
      Type.String({
        pattern: "^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$",
        description: "SHA-256 of its certificate, for one that no CA has signed.",
      }),
    ),
  },
  {
    description: "Redfish over HTTPS.",
    ...rules({
      rule: "!(has(self.ca) && has(self.fingerprint))",
      message: "its certificate is proven by ca or by fingerprint, not by both",
      fieldPath: ".fingerprint",
      reason: "FieldValueForbidden",
    }),
  },
);
export type Redfish = Static<typeof Redfish>;

const WakeOnLan = Type.Object(
  {
    mac: Type.String({
      pattern: "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$",
      description: "Of the network card that wakes the host.",
    }),
    address: Type.String({
      pattern: "^\\d{1,3}(\\.\\d{1,3}){3}$",
      default: "255.255.255.255",
      description:
        "Where the packet is sent: the broadcast address of a network that the control plane or another host is in, or that routers let directed broadcasts into. Hosts that were seen in a network with it send it there, too.",
    }),
    port: Type.Integer({ minimum: 1, maximum: 65535, default: 9, description: "UDP." }),
  },
  {
    description:
      "Wake-on-LAN, for hosts without a BMC: it can only wake. The host's agent switches it off; whether it is on is known by its agent alone.",
  },
);
export type WakeOnLan = Static<typeof WakeOnLan>;

export const Bmc = Type.Object(
  {
    ipmi: Type.Optional(Ipmi),
    redfish: Type.Optional(Redfish),
    wakeOnLan: Type.Optional(WakeOnLan),
    credentials: Type.Optional(
      Type.Object(
        {
          namespace: Name("Its namespace.", { default: "default" }),
          name: Name("Its name."),
        },
        {
          description:
            "A Secret of the type vireo.dev/bmc with the keys username and password. Of that type alone, so that no other Secret can be sent to an address that is written here. It needs no right but to see and switch power (IPMI: OPERATOR).",
        },
      ),
    ),
  },
  {
    description: "The host's management controller, through which its power is seen and switched.",
    ...rules(
      {
        rule: "(has(self.ipmi) ? 1 : 0) + (has(self.redfish) ? 1 : 0) + (has(self.wakeOnLan) ? 1 : 0) == 1",
        message: "say how it is reached: by ipmi, by redfish or by wakeOnLan, one of them",
        fieldPath: ".ipmi",
        reason: "FieldValueRequired",
      },
      {
        rule: "has(self.credentials) || has(self.wakeOnLan)",
        message: "a BMC lets nobody in without them: the name of a Secret of the type vireo.dev/bmc",
        fieldPath: ".credentials",
        reason: "FieldValueRequired",
      },
    ),
  },
);
export type Bmc = Static<typeof Bmc>;

/** When a host says nothing of its own (spec.powerManagement). */
export const SHUTDOWN_SECONDS = 300;
export const BOOT_SECONDS = 900;

/** Fields of a Host's spec. */
export const powerSpec = {
  bmc: Type.Optional(Bmc),
  power: Type.Optional(
    Words(["On", "Off", "ForceOff"], {
      description:
        "Whether it should be switched on. Off: once no machine is on it, its system is asked to shut down (ACPI), and given spec.powerManagement.shutdownSeconds. ForceOff: its power is cut instead of asking. Both need unschedulable or maintenance. As it is when absent.",
    }),
  ),
  powerManagement: Type.Optional(
    Type.Object({
      shutdownSeconds: Type.Optional(
        Type.Integer({
          minimum: 10,
          maximum: 3600,
          description: `How long its system may take to shut down; ${SHUTDOWN_SECONDS} when absent.`,
        }),
      ),
      acknowledgedWakeTest: Type.Optional(
        Type.String({
          maxLength: 64,
          description:
            "The startedTime of the failed test (status.power.lastWakeTest) that somebody has looked after: the host may be shut down again, and is tested again.",
        }),
      ),
      wakeTest: Type.Optional(
        Type.Object(
          {
            everyDays: Type.Integer({ minimum: 1, maximum: 3650, description: "Days between two tests." }),
            during: Type.Optional(Window),
            bootSeconds: Type.Optional(
              Type.Integer({
                minimum: 10,
                maximum: 7200,
                description: `How long it may take from switched on to its agent's first word; ${BOOT_SECONDS} when absent.`,
              }),
            ),
          },
          {
            description:
              "Proves now and then that the host wakes: its machines are moved elsewhere, as far as their policies let the director do that and others have room, and it is shut down and switched on again, one host of the estate at a time; while no control plane runs on it, it is neither unschedulable nor in maintenance, nothing else is asked for and what PowerPolicies and failover of Policies keep is kept without it. One that failed is not tested again, nor shut down for spec.power: Off, until that is acknowledged.",
          },
        ),
      ),
    }),
  ),
};

/** Rules of a Host's spec. */
export const POWER_RULES = rules(
  {
    rule: "!has(self.power) || self.power != 'ForceOff' || !has(self.bmc) || !has(self.bmc.wakeOnLan)",
    message: "Wake-on-LAN (spec.bmc.wakeOnLan) cannot cut its power",
    fieldPath: ".power",
    reason: "FieldValueForbidden",
  },
  {
    rule: "!has(self.power) || has(self.bmc)",
    message: "its power cannot be switched: spec.bmc does not say through what",
    fieldPath: ".power",
    reason: "FieldValueForbidden",
  },
  {
    rule: "!has(self.power) || self.power == 'On' || (has(self.unschedulable) && self.unschedulable) || (has(self.maintenance) && self.maintenance)",
    message:
      "this or maintenance must be true while spec.power is Off or ForceOff, so that nothing is placed on the host; switch it on first",
    fieldPath: ".unschedulable",
    reason: "FieldValueInvalid",
  },
);

const Task = Type.Object(
  {
    kind: Words(["On", "Off", "ForceOff", "WakeTest"]),
    startedTime: Type.String(),
    generation: Type.Integer({ description: "metadata.generation that asked for it." }),
    waking: Type.Optional(
      Type.Object(
        {
          time: Type.String({ description: "When it was seen to be off." }),
          agent: Type.String({ description: "When the agent that ran before was started." }),
        },
        { description: "Of a wake test: it was off, and is to come on." },
      ),
    ),
  },
  { ...AS_ONE, description: "What is being done. Nothing is placed on the host while it is." },
);
export type Task = Static<typeof Task>;

const Done = Type.Object(
  {
    kind: Words(["On", "Off", "ForceOff"]),
    startedTime: Type.String(),
    finishedTime: Type.String(),
    generation: Type.Integer(),
    succeeded: Type.Boolean(),
    message: Type.String(),
  },
  { ...AS_ONE, description: "What was done last, and what came of it." },
);

const WakeTest = Type.Object(
  {
    startedTime: Type.String(),
    finishedTime: Type.String(),
    passed: Type.Boolean(),
    message: Type.String(),
  },
  AS_ONE,
);

const Emptying = Type.Object(
  {
    startedTime: Type.String(),
    endedTime: Type.Optional(Type.String({ description: "When that was given up; absent: it goes on." })),
    message: Type.Optional(Type.String({ description: "Why it was given up." })),
  },
  {
    ...AS_ONE,
    description: "Its machines are moved elsewhere for its wake test, and none comes.",
  },
);
export type Emptying = Static<typeof Emptying>;

const Automatic = Type.Object(
  {
    power: Words(["On", "Off"]),
    since: Type.String({ description: "When it was decided." }),
    policy: Name("The PowerPolicy."),
    reason: Type.String({ description: "Why." }),
    predicted: Type.Optional(
      Type.Object({
        watts: Type.Optional(Type.Number({ description: "By how much the host takes more; below 0: less." })),
        seconds: Type.Optional(
          Type.Integer({ description: "On: until its agent is heard from; Off: how long at least." }),
        ),
      }),
    ),
    agent: Type.Optional(Type.String({ description: "On: when the agent that ran before was started." })),
  },
  {
    ...AS_ONE,
    description:
      "What a PowerPolicy wants of it. Done once: who switches it otherwise afterwards has the say. spec.power goes before it. Owner: the director.",
  },
);
export type Automatic = Static<typeof Automatic>;

const Past = Type.Object({
  power: Words(["On", "Off"]),
  since: Type.String(),
  finishedTime: Type.String(),
  succeeded: Type.Boolean(),
  predictedSeconds: Type.Optional(Type.Integer()),
  seconds: Type.Optional(
    Type.Integer({ description: "On: until its agent was heard from; Off: how long it was off." }),
  ),
  message: Type.String(),
});
export type Past = Static<typeof Past>;

/** IPv4: 10.0.9.0/24. */
export const Network = Type.String({ pattern: "^\\d{1,3}(\\.\\d{1,3}){3}/\\d{1,2}$" });

/** Field of a Host's status. Owner: the power reconciler. */
export const wakesStatus = Type.Array(
  Type.Object({
    host: Name("Whom."),
    mac: Type.String(),
    port: Type.Integer(),
    networks: Type.Array(Network, { description: "Where its packet is sent to." }),
    time: Type.String({ description: "When it was asked for; each is sent once." }),
  }),
  {
    description:
      "Hosts that its agent was asked to wake, because it is in a network with them; the newest last.",
  },
);

/** Field of a Host's status. Owner: the power reconciler, but for `automatic`. */
export const powerStatus = Type.Object({
  state: Words(["On", "Off", "Unknown"], { description: "What its BMC says; Unknown when it says nothing." }),
  since: Type.String({ description: "When that was seen first." }),
  reason: Type.Optional(Type.String({ description: "Why it is Unknown." })),
  task: Type.Optional(Task),
  lastTask: Type.Optional(Done),
  lastWakeTest: Type.Optional(WakeTest),
  emptying: Type.Optional(Emptying),
  automatic: Type.Optional(Automatic),
  fulfilled: Type.Optional(
    Type.Object(
      { since: Type.String(), finishedTime: Type.String() },
      { ...AS_ONE, description: "Which of automatic has been done, by its since, and when." },
    ),
  ),
  past: Type.Optional(
    Type.Array(Past, { description: "What came of the newest that PowerPolicies wanted; the newest last." }),
  ),
  boots: Type.Optional(
    Type.Array(Type.Integer(), {
      description:
        "Seconds that it took from switched on to its agent's first word, the newest last; measured at wake tests and when a PowerPolicy woke it.",
    }),
  ),
});
export type PowerStatus = Static<typeof powerStatus>;

/** Condition: whether its power is as spec.power says, and if not, why. */
export const POWER_AS_ASKED = "PowerAsAsked";

/** Condition: its newest wake test failed, and nobody has acknowledged that. */
export const WAKE_TEST_FAILED = "WakeTestFailed";

/** Condition: a wake test is due, and what it waits for. Reason Overdue: for as long again as there are to be between two. */
export const WAKE_TEST_DUE = "WakeTestDue";

interface Powered {
  spec: {
    power?: "On" | "Off" | "ForceOff";
    unschedulable?: boolean;
    maintenance?: boolean;
    powerManagement?: { acknowledgedWakeTest?: string };
  };
  status?: { power?: PowerStatus } | undefined;
}

/** So many are kept of what came of what was wanted. */
const PASTS = 6;

export const withPast = (power: PowerStatus, past: Past): PowerStatus => ({
  ...power,
  past: [...(power.past ?? []), past].slice(-PASTS),
});

/** A user keeps machines away from it. */
export const isClosed = ({ unschedulable, maintenance }: Powered["spec"]): boolean =>
  unschedulable === true || maintenance === true;

/** What a PowerPolicy wants of the host that is not done yet. Nothing is shut down under a user who has closed it. */
export function pendingOf({ spec, status }: Powered): Automatic | undefined {
  const { automatic, fulfilled } = status?.power ?? {};
  if (!automatic || spec.power !== undefined || fulfilled?.since === automatic.since) return undefined;
  if (automatic.power === "Off" && isClosed(spec)) return undefined;
  return automatic;
}

/** Its machines are moved elsewhere for its wake test. */
export const isEmptied = ({ status }: Pick<Powered, "status">): boolean => {
  const { emptying } = status?.power ?? {};
  return emptying !== undefined && emptying.endedTime === undefined;
};

/** Why nothing may be placed on a host because of its power, or undefined. */
export function heldForPower(host: Powered): string | undefined {
  const { spec, status } = host;
  const { task, state, automatic } = status?.power ?? {};
  if (task && task.kind !== "On") return "it is being switched off";
  if (spec.power === "Off" || spec.power === "ForceOff") return `it is to be switched off (spec.power)`;
  const pending = pendingOf(host);
  if (pending?.power === "Off") return `it is to be switched off (PowerPolicy ${pending.policy})`;
  if (state !== "Off") return isEmptied(host) ? "it is emptied for its wake test" : undefined;
  if (pending) return `it is switched off, and being switched on (PowerPolicy ${pending.policy})`;
  return automatic?.power === "Off"
    ? `it is switched off (PowerPolicy ${automatic.policy})`
    : "it is switched off";
}

/** Whether a host is not to be shut down by anything but a user's own ForceOff, because it may not come on again. */
export function failedWakeTest({ spec, status }: Powered): boolean {
  const { lastWakeTest } = status?.power ?? {};
  if (!lastWakeTest || lastWakeTest.passed) return false;
  return spec.powerManagement?.acknowledgedWakeTest !== lastWakeTest.startedTime;
}
