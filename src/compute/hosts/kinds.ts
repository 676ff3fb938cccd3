/** The kind Host. */
import { Type } from "typebox";
import { Network, POWER_RULES, powerSpec, powerStatus, wakesStatus } from "../../power/kinds.ts";
import { AS_ONE, Conditions, defineKind, Name, type ObjectOf, Quantity, Words } from "../../resource/kind.ts";
import { formatBytes } from "../../resource/quantity.ts";
import { OFFER_NAMES } from "../hardware/kinds.ts";
import { IoBudget } from "../io/kinds.ts";
import { givenOutBy, OVERCOMMIT } from "../overcommit/given-out.ts";
import { HostOvercommit } from "../overcommit/kinds.ts";
import { HUGE_PAGES, reservable } from "../resources/kinds.ts";

/** What a host is made of: the agent measures it, or a development host declares it (source says which). */
const Facts = Type.Object(
  {
    source: Words(["measured", "declared"], {
      description: "declared: a profile given to a development host, not the real hardware.",
    }),
    cpu: Type.Object({
      model: Type.String(),
      sockets: Type.Integer(),
      cores: Type.Integer({ description: "Physical cores in all." }),
      threads: Type.Integer({ description: "Logical CPUs in all." }),
      mhz: Type.Integer({ description: "Nominal clock in MHz; 0 when nothing tells it." }),
      smt: Type.Optional(Type.Boolean({ description: "Whether a core runs more than one thread." })),
      vendor: Type.Optional(Type.String({ description: "As it calls itself: GenuineIntel, AuthenticAMD." })),
      family: Type.Optional(Type.Integer({ description: "The vendor's number of its family." })),
      level: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 4,
          description: "The x86-64 microarchitecture level whose instructions it has all: 3 for x86-64-v3.",
        }),
      ),
      flags: Type.Optional(
        Type.Array(Type.String(), { description: "What it can do, as Linux calls it: avx2, aes, sev." }),
      ),
    }),
    memory: Type.Object({
      totalBytes: Type.Integer(),
      swapBytes: Type.Optional(
        Type.Integer({ description: "Swap on its disks, as of the agent's start; without zram." }),
      ),
      modules: Type.Array(
        Type.Object({
          locator: Type.String(),
          sizeBytes: Type.Integer(),
          type: Type.String(),
          speedMTs: Type.Integer({ description: "0 when unknown." }),
          ecc: Type.Optional(Type.Boolean({ description: "Whether it has bits to correct errors with." })),
          numaNode: Type.Optional(
            Type.Integer({
              description: "The NUMA node that it is near; absent where the firmware does not tell.",
            }),
          ),
        }),
      ),
    }),
    numaNodes: Type.Optional(
      Type.Array(
        Type.Object({
          id: Type.Integer(),
          cpus: Type.String({ description: "Logical CPUs, as Linux lists them: 0-3,8-11." }),
          memoryBytes: Type.Integer(),
          hugepages: Type.Array(
            Type.Object({ size: Words(HUGE_PAGES), count: Type.Integer(), free: Type.Integer() }),
          ),
        }),
        {
          description: "Processors and memory that are near each other; huge pages as of the agent's start.",
        },
      ),
    ),
    disks: Type.Array(
      Type.Object({
        name: Type.String(),
        sizeBytes: Type.Integer(),
        kind: Words(["ssd", "hdd", "unknown"]),
        model: Type.String(),
        transport: Type.Optional(
          Words(["nvme", "sas", "sata", "usb", "virtio"], { description: "How it is connected." }),
        ),
      }),
    ),
    links: Type.Array(
      Type.Object({
        name: Type.String(),
        mac: Type.String(),
        mbps: Type.Integer({ description: "0 when unknown." }),
        up: Type.Boolean(),
      }),
    ),
    addressLink: Type.Optional(
      Type.Object(
        {
          name: Type.String(),
          mbps: Type.Integer({
            description:
              "What one connection gets: of a bridge, bond or VLAN by the cards below it; 0 when unknown.",
          }),
        },
        {
          description:
            "The link that has its address (status.address), over which machines move; as of the agent's start.",
        },
      ),
    ),
    networks: Type.Optional(
      Type.Array(Network, {
        description:
          "IPv4 networks that it is in over its links: 10.0.9.0/24. Hosts in the same one can wake each other.",
      }),
    ),
    powerSupplies: Type.Optional(
      Type.Array(
        Type.Object({
          name: Type.String(),
          maxWatts: Type.Integer({ description: "0 when unknown." }),
          status: Type.String({ description: "As the firmware says: Present, OK." }),
        }),
      ),
    ),
    power: Type.Optional(
      Type.Object({
        idleWatts: Type.Number(),
        maxWatts: Type.Number(),
        curve: Type.Optional(
          Type.Array(Type.Number(), {
            minItems: 11,
            maxItems: 11,
            description: "At idle and at 10, 20 … 100 % of its processors' time.",
          }),
        ),
        modelled: Type.Optional(
          Type.String({
            description: "When they are not its own: whose they are. spec.watts goes before them.",
          }),
        ),
      }),
    ),
    qemu: Type.Object({
      version: Type.String(),
      accelerator: Words(["kvm", "tcg"]),
      reason: Type.String({ description: "Why this accelerator: the result of the timed execution probe." }),
      machineTypes: Type.Optional(
        Type.Array(Type.String(), {
          description: "The machine types of its QEMU that machines can be pinned to.",
        }),
      ),
      guestCpus: Type.Optional(
        Type.Array(Type.String(), { description: "The CPU models that it can give to guests, whole." }),
      ),
      offers: Type.Optional(
        Type.Array(Words(OFFER_NAMES), {
          description: "What it can give to guests that other hosts may not have.",
        }),
      ),
    }),
    kernel: Type.String(),
    bootId: Type.String(),
  },
  AS_ONE,
);

export const Host = defineKind({
  kind: "Host",
  plural: "hosts",
  namespaced: false,
  description: "Host is a machine that runs virtual machines. Its agent creates it when it enrols.",
  spec: Type.Object(
    {
      unschedulable: Type.Optional(
        Type.Boolean({
          description:
            "No new machine is placed here (kubectl cordon's meaning); running ones stay, unless they break a required rule there.",
        }),
      ),
      maintenance: Type.Optional(
        Type.Boolean({
          description:
            "Its machines are moved elsewhere while they run, and none comes; the condition Evacuated tells when it is empty, and else what stays and why.",
        }),
      ),
      site: Type.Optional(Name("Site, the largest failure domain.")),
      rack: Type.Optional(Name("Rack within the site.")),
      row: Type.Optional(Name("Row of racks within the site.")),
      feed: Type.Optional(
        Name("Power feed within the site, of a host that fails with it; none of one that has two."),
      ),
      dedicatedTo: Type.Optional(
        Type.String({
          pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$",
          maxLength: 320,
          description:
            'NAMESPACE/NAME of a Policy: only machines that it chooses come here, and others leave. Its rules bring them here: host.dedicatedTo == "NAMESPACE/NAME".',
        }),
      ),
      watts: Type.Optional(
        Type.Array(Type.Number({ minimum: 0, maximum: 100_000 }), {
          minItems: 2,
          maxItems: 11,
          description:
            "What it takes: two values, idle and at full load, or eleven, at idle and at 10, 20 … 100 % of its processors' time. By status.facts.power when absent.",
        }),
      ),
      budget: Type.Optional(IoBudget),
      overcommit: Type.Optional(HostOvercommit),
      failingMemory: Type.Optional(
        Type.Object(
          {
            automation: Words(["off", "advise", "act"], {
              default: "advise",
              description:
                "advise: the condition MemoryFailing and an event tell. act: its machines are moved elsewhere, too, as in maintenance, and none comes.",
            }),
            correctedPerDay: Type.Integer({
              default: 100,
              minimum: 1,
              description: "A module with more corrected errors within a day is failing.",
            }),
            acknowledged: Type.Optional(
              Type.String({
                maxLength: 64,
                description:
                  "The lastTransitionTime of MemoryFailing that somebody has looked after: it may be well again.",
              }),
            ),
          },
          {
            description:
              "What is done when a memory module fails: it has too many corrected errors, or one that could not be corrected. Advised when absent.",
          },
        ),
      ),
      ksm: Type.Optional(
        Type.Object(
          { namespace: Name("The project whose machines share what is equal in their memory.") },
          {
            description:
              "Has the host's kernel merge equal memory (KSM) of machines of one project that start from now on. Never of several: what was merged can be told by measuring, so one would learn what others have in memory. Off when absent.",
          },
        ),
      ),
      ...powerSpec,
    },
    POWER_RULES,
  ),
  // Owner: the agent, except power: the power reconciler, and conditions: the host reconciler (Ready from the lease host-NAME), the director
  // (Evacuated, MemoryFailing), the power reconciler.
  status: Type.Object({
    address: Type.Optional(
      Type.String({ description: "Where other hosts reach it: migration streams and VXLAN." }),
    ),
    consoleAddress: Type.Optional(
      Type.String({ description: "Where control planes reach the consoles of its machines, by mTLS." }),
    ),
    capacity: Type.Optional(
      Type.Object({
        cpus: Type.Integer({
          description: `Virtual CPUs that may be given out, at ${OVERCOMMIT} for each logical processor; spec.overcommit.cpu has it give out more or fewer.`,
        }),
        memory: Quantity({
          description:
            "Memory that there is for machines; without huge pages. spec.overcommit.memory has it give out more or less.",
        }),
        ...reservable,
      }),
    ),
    facts: Type.Optional(Facts),
    ksm: Type.Optional(
      Type.Object(
        {
          state: Words(["On", "Off", "Failed"]),
          namespace: Type.Optional(Type.String()),
          message: Type.Optional(Type.String({ description: "Why it cannot be as spec.ksm says." })),
        },
        AS_ONE,
      ),
    ),
    memoryErrors: Type.Optional(
      Type.Object(
        {
          time: Type.String({ description: "When they changed last." }),
          modules: Type.Array(
            Type.Object({
              module: Type.String({ description: "As its firmware or Linux calls it." }),
              sizeBytes: Type.Optional(Type.Integer()),
              corrected: Type.Integer({ description: "Since the host was started." }),
              uncorrected: Type.Integer({ description: "Likewise." }),
              correctedLastDay: Type.Integer({ description: "Within 24 hours." }),
            }),
          ),
        },
        { ...AS_ONE, description: "Errors that ECC found (Linux' EDAC); absent where nobody counts them." },
      ),
    ),
    parting: Type.Optional(
      Type.Object(
        {
          time: Type.String(),
          task: Type.String({ description: "startedTime of status.power.task." }),
          agent: Type.String({ description: "When it was started." }),
        },
        {
          ...AS_ONE,
          description:
            "Its agent's last word before it switches the host off, because nobody else can (spec.bmc.wakeOnLan).",
        },
      ),
    ),
    agent: Type.Optional(
      Type.Object({
        version: Type.String(),
        startedTime: Type.String(),
        sealingKey: Type.Optional(
          Type.String({
            description: "What only this agent is to read is sealed with it; new at each start.",
          }),
        ),
        syncedTime: Type.Optional(
          Type.String({
            description:
              "When it had looked after each of its instances since it started: from then on their status is true.",
          }),
        ),
      }),
    ),
    power: Type.Optional(powerStatus),
    wakes: Type.Optional(wakesStatus),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Ready", type: "string", jsonPath: ".status.conditions[?(@.type=='Ready')].status" },
    {
      name: "CPUs",
      type: "integer",
      jsonPath: ".status.capacity.cpus",
      description: "Virtual CPUs that it gives out.",
      text: (host) => givenOutBy(host)?.cpus ?? null,
    },
    {
      name: "Memory",
      type: "string",
      jsonPath: ".status.capacity.memory",
      description: "Memory that it gives out.",
      text: (host) => {
        const given = givenOutBy(host);
        return given ? formatBytes(given.memoryBytes) : null;
      },
    },
    { name: "Accelerator", type: "string", jsonPath: ".status.facts.qemu.accelerator" },
    { name: "Facts", type: "string", jsonPath: ".status.facts.source" },
    { name: "CPU", type: "string", jsonPath: ".status.facts.cpu.model", priority: 1 },
    { name: "Power", type: "string", jsonPath: ".status.power.state", priority: 1 },
    { name: "Address", type: "string", jsonPath: ".status.address", priority: 1 },
  ],
});
export type Host = ObjectOf<typeof Host>;
export type HostFacts = NonNullable<NonNullable<Host["status"]>["facts"]>;
