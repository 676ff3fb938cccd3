/** What a VirtualMachine and each run of it have in common. */

import { Type } from "typebox";
import { ImageReference } from "../images/versions/kinds.ts";
import { AS_ONE, AS_SET, keyedBy, Name, Quantity, rules, Words } from "../resource/kind.ts";
import { boot } from "./boot/kinds.ts";
import { DataDisk, DiskLimits, MAX_DISKS } from "./disks/kinds.ts";
import { Hardware } from "./hardware/kinds.ts";
import { Resources } from "./resources/kinds.ts";

const MiB = 2 ** 20;

const Port = Type.Integer({ minimum: 1, maximum: 65535 });

const Readiness = Type.Object(
  {
    http: Type.Optional(
      Type.Object({
        port: Port,
        path: Type.Optional(
          Type.String({ pattern: "^/", description: "Path of the request; / by default." }),
        ),
      }),
    ),
    tcp: Type.Optional(Type.Object({ port: Port })),
    none: Type.Optional(
      Type.Boolean({ description: "It counts as ready once it runs: for guests that have no way to tell." }),
    ),
    timeoutSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 86400,
        description: "After this long without an answer the condition Ready says so; 300 by default.",
      }),
    ),
  },
  {
    ...rules(
      {
        rule: "!(has(self.http) && has(self.tcp))",
        message: "may not be given together with http; choose one of them",
        fieldPath: ".tcp",
        reason: "FieldValueForbidden",
      },
      {
        rule: "!(has(self.none) && self.none && (has(self.http) || has(self.tcp)))",
        message: "may not be given together with http or tcp; choose one of them",
        fieldPath: ".none",
        reason: "FieldValueForbidden",
      },
    ),
    description:
      "How the guest says that it is ready: an HTTP answer below 400, or a TCP port that accepts. Without it the guest agent (qemu-ga) has to answer. It is asked every half minute after that, too: after a minute without an answer the condition Ready is False until there is one again.",
  },
);

const Guest = Type.Object(
  {
    hostname: Type.Optional(Name("Host name inside the guest; the VM's name by default.")),
    sshAuthorizedKeys: Type.Optional(Type.Array(Type.String({ pattern: "^(ssh|ecdsa|sk)-" }), AS_SET)),
    userData: Type.Optional(
      Type.String({ maxLength: 65536, description: "cloud-init user-data that replaces the generated one." }),
    ),
  },
  { description: "What the guest is told at its first boot, as NoCloud cloud-init data." },
);

/** The part of a VM that one run of it needs; copied into the Instance so that a run never changes under itself. */
export const machine = {
  cpus: Type.Integer({ minimum: 1, maximum: 512, default: 1, description: "Number of virtual CPUs." }),
  memory: Quantity({ description: "Memory of the machine.", minimum: 32 * MiB, maximum: 16 * 2 ** 40 }),
  maxCpus: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 512,
      description: "How many cpus may become while it runs; a run has room for that many from its start on.",
    }),
  ),
  maxMemory: Type.Optional(
    Quantity({
      description:
        "How much memory may become while it runs; a run has room for that much from its start on.",
      minimum: 32 * MiB,
      maximum: 16 * 2 ** 40,
    }),
  ),
  memoryTarget: Type.Optional(
    Quantity({
      description:
        "What the guest is to make do with: its balloon gives the rest of its memory back to the host, unless it runs short. All of it by default.",
      minimum: 32 * MiB,
      maximum: 16 * 2 ** 40,
    }),
  ),
  image: ImageReference("The Image whose disk the VM's system disk is a linked overlay of."),
  storagePool: Name("The StoragePool that holds the VM's disks.", { default: "default" }),
  diskSize: Type.Optional(
    Quantity({
      description: "Size of the system disk; the image's own size by default. It may grow, never shrink.",
      minimum: MiB,
    }),
  ),
  diskLimits: Type.Optional(DiskLimits),
  disks: Type.Optional(
    Type.Array(DataDisk, {
      maxItems: MAX_DISKS,
      ...keyedBy("name"),
      description:
        "More disks, in the same StoragePool. One that is taken out of this list is detached and kept; it is there again when its name is.",
    }),
  ),
  ...boot,
  hardware: Type.Optional(Hardware),
  resources: Type.Optional(Resources),
  guest: Type.Optional(Guest),
  readiness: Type.Optional(Readiness),
};

export const End = Type.Object(
  {
    reason: Words([
      "GuestShutdown",
      "GuestReset",
      "GuestPanic",
      "Watchdog", // its guest did not feed it
      "Requested", // stopped by us
      "Suspended", // its memory is kept
      "HostSignal", // SIGTERM and the like from outside
      "HostRebooted", // or lost its power
      "OutOfMemory", // killed by the host's kernel
      "Killed", // SIGKILL: the process went without a word
      "Crashed", // abort or another signal
      "StartFailed",
      "ResumeFailed", // it could not go on with the memory that is kept
      "MemoryLost", // in the middle of post-copy
      "MigrationFailed", // of the target of a move that never was the machine
      "HandedOver",
    ]),
    message: Type.String(),
    time: Type.String(),
  },
  { description: "Why the run ended." },
);

/** What a machine used on average since its agent last looked (30 s), as the agent saw it. */
export const MachineUsage = Type.Object(
  {
    time: Type.String({ description: "When it was so; not written again while it stays about the same." }),
    cpus: Type.Number({ description: "Processors of the host, in all: 0.5 is half of one." }),
    stolenCpus: Type.Number({ description: "How many virtual CPUs waited for one of the host's." }),
    hostMemoryBytes: Type.Integer({ description: "Memory of the host that it takes." }),
    guestMemoryBytes: Type.Optional(
      Type.Integer({ description: "What the guest says that it uses; absent without its balloon driver." }),
    ),
    dirtyBytesPerSecond: Type.Optional(
      Type.Integer({
        description:
          "How fast the guest writes to its memory, what it writes to again within two seconds counted once. Measured once an hour, and minutes after it has come to use more or less of the processors; not where it gives memory back (spec.memoryTarget).",
      }),
    ),
    disk: Type.Object({
      readBytesPerSecond: Type.Number(),
      writtenBytesPerSecond: Type.Number(),
      operationsPerSecond: Type.Number(),
      latencyMs: Type.Optional(Type.Number({ description: "Mean of the guest's requests that ended." })),
    }),
    network: Type.Object({
      receivedBytesPerSecond: Type.Number({ description: "By the guest." }),
      sentBytesPerSecond: Type.Number(),
    }),
  },
  { description: "What it used on average since the look before, about 30 s.", ...AS_ONE },
);
