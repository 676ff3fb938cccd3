/**
 * How a machine is started, stopped, paused and suspended, and what becomes of it when its guest breaks down: the fields of VirtualMachine
 * and Instance that say so.
 *
 * What may change while it runs (`paused`, `stop`, `onPanic`) is handed to its run at once. `requests` are done once for each new text:
 *
 *   reset     the VM reconciler hands it to the run that holds the disks ─► its agent resets, and tells it in status.reset ─► VM.status.requests
 *   restart   the run is asked to stop ─► the next one's number is taken and the request told as done in one write: never twice
 *   force     spec.stop.force goes to the run that is to stop, and only to it ─► told as done once it has ended, or where nothing is to stop
 *
 * A run that begins has done all requests of before: it boots anyway.
 */
import { type Static, Type } from "typebox";
import { keyedBy, Words } from "../../resource/kind.ts";
import { isDown, type Standing } from "./verbs.ts";

const Token = (description: string) => Type.String({ minLength: 1, maxLength: 64, description });

export const DEFAULT_GRACE_SECONDS = 30;
export const DEFAULT_KEPT_DUMPS = 3;

const Stop = Type.Object(
  {
    graceSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 86400,
        description: `How long the guest may take to shut down, ${DEFAULT_GRACE_SECONDS} by default; then it is switched off.`,
      }),
    ),
    force: Type.Optional(
      Type.Boolean({
        description:
          "Switch it off at once whenever it is to stop, without asking the guest; as pulling the plug. For one stop: requests.force.",
      }),
    ),
  },
  { description: "How it is stopped. May be changed while it stops." },
);

const OnPanic = Type.Object(
  {
    action: Type.Optional(
      Words(["Restart", "Stop", "Pause"], {
        description:
          "Restart: its run ends, and spec.restart decides; the default. Stop: it ends and stays down. Pause: it stands still to be looked at, until it is reset or stopped.",
      }),
    ),
    dump: Type.Optional(
      Type.Boolean({
        description:
          "Keep the guest's memory as of then in a file beside its disks (status.dumps), an ELF core for crash, gdb or drgn.",
      }),
    ),
    keepDumps: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 16,
        description: `How many dumps are kept, the newest; ${DEFAULT_KEPT_DUMPS} by default.`,
      }),
    ),
  },
  {
    description:
      "What happens when the guest's kernel panics and tells so (pvpanic). May be changed while it runs.",
  },
);
export type OnPanic = Static<typeof OnPanic>;

/** Of machine and run. */
export const steering = {
  paused: Type.Optional(
    Type.Boolean({
      description:
        "While true, the guest stands still; its memory stays where it is. Kept when it moves or its host's agent is started anew.",
    }),
  ),
  stop: Type.Optional(Stop),
  onPanic: Type.Optional(OnPanic),
  discardMemory: Type.Optional(
    Type.Boolean({
      description:
        "The next start boots instead of going on with memory that was kept by suspending, or is a snapshot's; that memory is lost.",
    }),
  ),
};
/** Those of them that are handed to a run while it runs. */
export const STEERED = ["paused", "stop", "onPanic"] as const;

const Requests = {
  reset: Type.Optional(Token("Each new text resets the running machine once, as its reset button would.")),
  restart: Type.Optional(
    Token("Each new text stops the machine once, as spec.stop says, and starts it again."),
  ),
  force: Type.Optional(
    Token(
      "With each new text the stop that is under way, or that the same change asks for, pulls the plug once: the guest is not asked.",
    ),
  ),
};

/** Of a VirtualMachine alone. */
export const ofMachine = {
  suspended: Type.Optional(
    Type.Boolean({
      description:
        "While true, the machine does not run: its memory is kept with its disks, and it goes on from there once this is false. Of a machine with running: true.",
    }),
  ),
  requests: Type.Optional(
    Type.Object(Requests, { description: "What is done once for each new text, a time for example." }),
  ),
  restart: Words(["Always", "OnFailure", "Never"], {
    default: "OnFailure",
    description:
      "Which ends that nobody asked for are followed by a new start. OnFailure: all but the guest's own shutdown. Always: that, too. The waits between grow from 1 s to 5 min, until a run lasts 10 minutes.",
  }),
};
export const KEEPS_MEMORY = {
  rule: "!(has(self.suspended) && self.suspended && has(self.discardMemory) && self.discardMemory)",
  message: "may not be true while suspended is: it would throw away what is kept",
  fieldPath: ".discardMemory",
  reason: "FieldValueForbidden",
} as const;

/** The memory of a suspended machine, and what it ran on. */
export const Suspended = Type.Object(
  {
    time: Type.String({ description: "When its guest stood still." }),
    host: Type.String({ description: "Where it ran." }),
    sizeBytes: Type.Integer({ description: "What its memory takes in the storage pool." }),
    saveMs: Type.Integer({ description: "How long saving took." }),
    accelerator: Words(["kvm", "tcg"]),
    cpuModel: Type.String(),
    guestCpu: Type.Optional(Type.String()),
  },
  { description: "Its memory is kept since then; it goes on with it on any host that can." },
);
export type Suspended = Static<typeof Suspended>;

type Machine = Standing & { metadata: { deletionTimestamp?: string } };

/** Whether the machine is to run now. */
export const isWanted = ({ spec, metadata }: Machine): boolean =>
  spec.running && !spec.suspended && !metadata.deletionTimestamp;

/** Whether it is to run now without anybody starting it once more: what ended for good (restart.ts) stays down. @param hasRun it has one that is not over */
export const isToRun = (machine: Machine, hasRun: boolean): boolean =>
  isWanted(machine) && (hasRun || !isDown(machine));

/** Reasons of the condition Ready of a run whose guest stands still. */
export const STANDING = {
  user: "Paused",
  "storage-full": "StorageFull",
  "io-error": "StorageError",
  "guest-panicked": "GuestPanic",
  watchdog: "Watchdog",
  "internal-error": "InternalError",
} as const;
export const isStanding = (reason: string): boolean => Object.values<string>(STANDING).includes(reason);

const Dumps = Type.Array(
  Type.Object({
    file: Type.String({
      description: "Its path on the hosts that see the storage pool; only root reads it.",
    }),
    host: Type.String({ description: "Where it was made." }),
    time: Type.String(),
    sizeBytes: Type.Integer(),
    reason: Words(["GuestPanic", "Watchdog"]),
  }),
  { description: "The guest's memory as it was when it broke down, oldest first.", ...keyedBy("file") },
);
export type Dump = Static<typeof Dumps>[number];

/** Of Instance.spec alone. Owner: the VM reconciler. */
export const ofRun = {
  reset: Type.Optional(Token("To be reset once, see VirtualMachine spec.requests.")),
  suspend: Type.Optional(
    Type.Boolean({ description: "To be suspended: saved and ended. Taken back, it runs on." }),
  ),
  resumes: Type.Optional(
    Type.Object(
      {
        accelerator: Words(["kvm", "tcg"]),
        cpuModel: Type.String(),
        guestCpu: Type.Optional(Type.String()),
      },
      { description: "It goes on with the memory of a suspended run, which was of this." },
    ),
  ),
};

/** Of Instance.status. Owner: the agent. */
export const runStatus = {
  reset: Type.Optional(Type.String({ description: "The reset that was done last." })),
  stopTime: Type.Optional(Type.String({ description: "When the guest was asked to shut down." })),
  suspended: Type.Optional(Suspended),
  dumps: Type.Optional(Dumps),
  watchdogTime: Type.Optional(Type.String({ description: "When its watchdog last had to act." })),
};

/** Of VirtualMachine.status. Owner: the VM reconciler. */
export const machineStatus = {
  requests: Type.Optional(Type.Object(Requests, { description: "Those of spec.requests that are done." })),
  suspended: Type.Optional(Suspended),
  dumps: Type.Optional(Dumps),
  nextStartTime: Type.Optional(
    Type.String({ description: "When it is started again, after ends that nobody asked for." }),
  ),
};
