/**
 * GuestCommand: a program that is run once in a machine's guest, by its guest agent. One at a time for each machine.
 *
 *   Pending ─► instance.spec.guestTask (by the reconciler) ─► its agent: status.guestTask Running, written *before* the guest is asked ─► Done
 *        ─► GuestCommand Succeeded or Failed ─► spec.guestTask goes
 *
 * So it is run at most once: an agent that finds Running and does not know of it was killed meanwhile, and says that the end is not known.
 */
import { type Static, Type } from "typebox";
import { AS_ONE, defineKind, immutable, Name, type ObjectOf, rules, Words } from "../../resource/kind.ts";

/** Characters of each of its outputs that are kept. */
export const OUTPUT_MAX = 65_536;

/** What a password is sealed for: it opens for nobody else. */
export const passwordContext = (vmUid: string, user: string) => `password ${vmUid} ${user}`;

const what = {
  command: Type.Optional(
    Type.Array(Type.String({ maxLength: 32_768 }), {
      minItems: 1,
      maxItems: 256,
      "x-kubernetes-list-type": "atomic",
      description: "The program's path or name in the guest, and its arguments. No shell is in between.",
    }),
  ),
  password: Type.Optional(
    Type.Object(
      {
        user: Type.String({ pattern: "^[^:\\r\\n]+$", maxLength: 256, description: "Of the guest." }),
        sealed: Type.String({
          maxLength: 8192,
          description:
            "The password, which only the agent of the machine's host can read (Host.status.agent.sealingKey), and for this machine and user alone. `vireo set-password` makes it.",
        }),
      },
      { description: "Instead of a command: the password that a user of the guest gets.", ...AS_ONE },
    ),
  ),
  input: Type.Optional(
    Type.String({ maxLength: OUTPUT_MAX, description: "What it reads from its standard input." }),
  ),
  timeoutSeconds: Type.Integer({
    minimum: 1,
    maximum: 86_400,
    default: 60,
    description: "After this long it is given up; it may run on in the guest.",
  }),
};

const result = {
  exitCode: Type.Optional(Type.Integer()),
  signal: Type.Optional(Type.Integer({ description: "That ended it." })),
  stdout: Type.Optional(Type.String()),
  stderr: Type.Optional(Type.String()),
  truncated: Type.Optional(Type.Boolean({ description: "More was said than is kept here." })),
  message: Type.Optional(Type.String()),
};

/** Instance.spec.guestTask. Owner: the GuestCommand reconciler. */
export const GuestTask = Type.Object(
  { id: Type.String({ description: "The GuestCommand, by uid." }), ...what },
  AS_ONE,
);
export type GuestTask = Static<typeof GuestTask>;

/** Instance.status.guestTask. Owner: the agent. */
export const GuestTaskResult = Type.Object(
  { id: Type.String(), phase: Words(["Running", "Done", "Failed"]), ...result },
  AS_ONE,
);

export type GuestTaskResult = Static<typeof GuestTaskResult>;
const ANOTHER = "cannot be changed; make another one";

export const GuestCommand = defineKind({
  kind: "GuestCommand",
  plural: "guestcommands",
  shortNames: ["exec"],
  namespaced: true,
  description:
    "GuestCommand runs a program once in the guest of a VirtualMachine, or sets a password there, by its guest agent. Whoever may view the project sees it and what it said. It goes an hour after its end.",
  spec: Type.Object(
    { vm: Name("The VirtualMachine."), ...what },
    rules(
      ...["vm", "timeoutSeconds"].map((field) => immutable(field, ANOTHER)),
      ...["command", "password", "input"].map((field) => immutable(field, ANOTHER, true)),
      {
        rule: "has(self.command) != has(self.password)",
        message: "exactly one of command and password has to be given",
        fieldPath: ".command",
        reason: "FieldValueInvalid",
      },
    ),
  ),
  // Owner of status: the GuestCommand reconciler.
  status: Type.Object({
    phase: Type.Optional(
      Words(["Pending", "Running", "Succeeded", "Failed"], {
        description: "Succeeded: it ended with code 0. Failed: see exitCode, signal or message.",
      }),
    ),
    instance: Type.Optional(Type.String({ description: "The run of the machine that it was given to." })),
    startedTime: Type.Optional(Type.String()),
    finishedTime: Type.Optional(Type.String()),
    ...result,
  }),
  columns: [
    { name: "VM", type: "string", jsonPath: ".spec.vm" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Exit code", type: "integer", jsonPath: ".status.exitCode" },
    { name: "Message", type: "string", jsonPath: ".status.message", priority: 1 },
  ],
  selectableFields: ["spec.vm", "status.phase"],
});
export type GuestCommand = ObjectOf<typeof GuestCommand>;
