/**
 * What machines really use: sampled from time to time, for the agent's metrics (all counters, as Prometheus wants them) and for
 * status.usage (the mean since it was last looked at). The status is written seldom: a machine that goes on as before costs no write.
 */
import { readFileSync } from "node:fs";
import type { Instance, Usage } from "../../compute/kinds.ts";
import type { ProcessUsage } from "../../qemu/usage.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { readCounter, readGauge } from "../../telemetry/metrics.ts";
import type { Hypervisor, MachineId, MachineUsage, NicUsage } from "../hypervisor.ts";
import { idOf } from "../runs/instance-status.ts";
import { DirtyRates } from "./dirty-rates.ts";

const SAMPLE_MS = 5000;
const CLASS_NET = "/sys/class/net";

interface Sample {
  at: number;
  labels: { namespace: string; vm: string };
  usage: MachineUsage;
  /** How fast its guest writes to its memory, bytes per second; undefined: it is not known. */
  dirty: number | undefined;
  /** When `news` was last asked for, or the first sample: what is told next is the mean since then, so that nothing between is overlooked. */
  since: { at: number; usage: MachineUsage };
}

const LABELS = ["namespace", "vm"];
const DISK = [...LABELS, "disk", "operation"];
const cpu = readCounter("vireo_vm_cpu_seconds_total", "Processor time of a machine's QEMU.", LABELS);
const steal = readCounter(
  "vireo_vm_cpu_steal_seconds_total",
  "How long virtual CPUs waited for the host's.",
  LABELS,
);
const resident = readGauge(
  "vireo_vm_memory_resident_bytes",
  "Memory of the host that a machine takes.",
  LABELS,
);
const guest = readGauge("vireo_vm_guest_memory_used_bytes", "What the guest says that it uses.", LABELS);
const dirtyRate = readGauge(
  "vireo_vm_memory_dirty_bytes_per_second",
  "How fast the guest writes to its memory, as measured last.",
  LABELS,
);
const diskBytes = readCounter("vireo_vm_disk_bytes_total", "Read and written by the guest.", DISK);
const diskOperations = readCounter(
  "vireo_vm_disk_operations_total",
  "Requests of the guest that ended.",
  DISK,
);
const diskSeconds = readCounter(
  "vireo_vm_disk_operation_seconds_total",
  "How long they took, all together; by operations_total: the latency.",
  DISK,
);
const network = readCounter("vireo_vm_network_bytes_total", "As the guest sees it.", [
  ...LABELS,
  "nic",
  "direction",
]);

export class UsageSampler {
  readonly #hypervisor: Hypervisor;
  readonly #clock: Clock;
  readonly #samples = new Map<MachineId, Sample>();
  readonly #dirty: DirtyRates;

  constructor(hypervisor: Hypervisor, clock: Clock) {
    this.#hypervisor = hypervisor;
    this.#dirty = new DirtyRates(hypervisor);
    this.#clock = clock;
  }

  /** Samples until the signal aborts. @param list the instances of this host */
  async run(list: () => readonly Instance[], signal: AbortSignal, everyMs = SAMPLE_MS): Promise<void> {
    const untell = this.#publish();
    while (!signal.aborted) {
      await this.sample(list());
      await this.#clock.sleep(everyMs, signal);
    }
    for (const stop of untell) stop();
  }

  /** One after the other: nobody waits for it. One that does not answer has no new sample. */
  async sample(instances: readonly Instance[]): Promise<void> {
    const running = instances.filter(
      ({ status }) => status?.phase === "Running" || status?.phase === "Starting",
    );
    const ids = new Set(running.map(idOf));
    for (const id of this.#samples.keys()) if (!ids.has(id)) this.#samples.delete(id);
    this.#dirty.keep(ids);
    for (const instance of running) {
      const { metadata, spec } = instance;
      const id = idOf(instance);
      const usage = await this.#hypervisor.usage(id).catch(() => undefined);
      if (!usage) continue;
      const at = this.#clock.now().getTime();
      const since = this.#samples.get(id)?.since ?? { at, usage };
      const labels = { namespace: metadata.namespace ?? "default", vm: spec.vm };
      const dirty = await this.#dirty.look(instance, id, at, usage.cpuSeconds);
      this.#samples.set(id, { at, labels, usage, dirty, since });
    }
  }

  /** What it used on average since this was last asked; undefined when what stands in the status is good enough, or there is no sample since then. */
  news(instance: Instance): Usage | undefined {
    const sample = this.#samples.get(idOf(instance));
    if (!sample) return undefined;
    const { at, usage, since } = sample;
    const used = rates(since.usage, usage, (at - since.at) / 1000, new Date(at));
    sample.since = { at, usage };
    const told = instance.status?.usage;
    // What an agent before has measured holds until it is measured anew.
    const dirty = sample.dirty ?? (instance.spec.memoryTarget ? undefined : told?.dirtyBytesPerSecond);
    const recent = used && (dirty === undefined ? used : { ...used, dirtyBytesPerSecond: dirty });
    return recent && (!told || differs(told, recent)) ? recent : undefined;
  }

  #publish(): (() => void)[] {
    const all = (values: (sample: Sample) => (readonly [Record<string, string>, number])[]) => () =>
      [...this.#samples.values()].flatMap((sample) =>
        values(sample).map(([more, value]) => [{ ...sample.labels, ...more }, value] as const),
      );
    const perDisk = (of: (disk: ProcessUsage["disks"][number]) => { read: number; write: number }) =>
      all(({ usage }) =>
        usage.disks.flatMap((each) => {
          const { read, write } = of(each);
          return [
            [{ disk: each.disk, operation: "read" }, read],
            [{ disk: each.disk, operation: "write" }, write],
          ] as const;
        }),
      );
    return [
      cpu(all(({ usage }) => [[{}, usage.cpuSeconds]])),
      steal(all(({ usage }) => [[{}, usage.stealSeconds]])),
      resident(all(({ usage }) => [[{}, usage.residentBytes]])),
      guest(all(({ usage }) => (usage.guestUsedBytes === undefined ? [] : [[{}, usage.guestUsedBytes]]))),
      dirtyRate(all(({ dirty }) => (dirty === undefined ? [] : [[{}, dirty]]))),
      diskBytes(perDisk((disk) => ({ read: disk.readBytes, write: disk.writtenBytes }))),
      diskOperations(perDisk((disk) => ({ read: disk.reads, write: disk.writes }))),
      diskSeconds(perDisk((disk) => ({ read: disk.readSeconds, write: disk.writeSeconds }))),
      network(
        all(({ usage }) =>
          usage.nics.flatMap(({ receivedBytes, sentBytes }, nic) => [
            [{ nic: `${nic}`, direction: "received" }, receivedBytes],
            [{ nic: `${nic}`, direction: "sent" }, sentBytes],
          ]),
        ),
      ),
    ];
  }
}

/** What a tap's counters say, the other way round: what the host sends is what the guest receives. */
export function readTap(name: string, classNet = CLASS_NET): NicUsage {
  const read = (what: string) => Number(readFileSync(`${classNet}/${name}/statistics/${what}`, "utf8"));
  return { receivedBytes: read("tx_bytes"), sentBytes: read("rx_bytes") };
}

const sum = <T>(all: readonly T[], of: (each: T) => number) =>
  all.reduce((total, each) => total + of(each), 0);
const round = (value: number, digits: number) => Number(Math.max(0, value).toFixed(digits));

/** From two samples. Undefined when one of the counters went back: the machine is another process now. Pure. */
export function rates(
  before: MachineUsage,
  now: MachineUsage,
  seconds: number,
  time: Date,
): Usage | undefined {
  const per = (of: (usage: MachineUsage) => number) => (of(now) - of(before)) / seconds;
  if (seconds <= 0 || per(({ cpuSeconds }) => cpuSeconds) < 0) return undefined;
  const operations = (usage: MachineUsage) => sum(usage.disks, (disk) => disk.reads + disk.writes);
  const busy = (usage: MachineUsage) => sum(usage.disks, (disk) => disk.readSeconds + disk.writeSeconds);
  const done = operations(now) - operations(before);
  return {
    time: time.toISOString(),
    cpus: round(
      per(({ cpuSeconds }) => cpuSeconds),
      2,
    ),
    stolenCpus: round(
      per(({ stealSeconds }) => stealSeconds),
      2,
    ),
    hostMemoryBytes: now.residentBytes,
    ...(now.guestUsedBytes === undefined ? {} : { guestMemoryBytes: now.guestUsedBytes }),
    disk: {
      readBytesPerSecond: round(
        per((usage) => sum(usage.disks, (disk) => disk.readBytes)),
        0,
      ),
      writtenBytesPerSecond: round(
        per((usage) => sum(usage.disks, (disk) => disk.writtenBytes)),
        0,
      ),
      operationsPerSecond: round(done / seconds, 1),
      ...(done > 0 ? { latencyMs: round(((busy(now) - busy(before)) / done) * 1000, 2) } : {}),
    },
    network: {
      receivedBytesPerSecond: round(
        per((usage) => sum(usage.nics, (nic) => nic.receivedBytes)),
        0,
      ),
      sentBytesPerSecond: round(
        per((usage) => sum(usage.nics, (nic) => nic.sentBytes)),
        0,
      ),
    },
  };
}

/** More than a fifth, and more than what is noise. */
const changed = (a: number, b: number, noise: number) =>
  Math.abs(a - b) > Math.max(noise, 0.2 * Math.max(a, b));
const KiB = 1024;
const MiB = KiB ** 2;

/** Whether people would want to know. Pure. */
export function differs(a: Usage, b: Usage): boolean {
  return (
    changed(a.cpus, b.cpus, 0.05) ||
    changed(a.stolenCpus, b.stolenCpus, 0.05) ||
    changed(a.hostMemoryBytes, b.hostMemoryBytes, 16 * MiB) ||
    changed(a.guestMemoryBytes ?? 0, b.guestMemoryBytes ?? 0, 16 * MiB) ||
    (a.dirtyBytesPerSecond === undefined) !== (b.dirtyBytesPerSecond === undefined) ||
    changed(a.dirtyBytesPerSecond ?? 0, b.dirtyBytesPerSecond ?? 0, 8 * MiB) ||
    changed(a.disk.readBytesPerSecond, b.disk.readBytesPerSecond, 256 * KiB) ||
    changed(a.disk.writtenBytesPerSecond, b.disk.writtenBytesPerSecond, 256 * KiB) ||
    changed(a.disk.operationsPerSecond, b.disk.operationsPerSecond, 20) ||
    changed(a.disk.latencyMs ?? 0, b.disk.latencyMs ?? 0, 5) ||
    changed(a.network.receivedBytesPerSecond, b.network.receivedBytesPerSecond, 64 * KiB) ||
    changed(a.network.sentBytesPerSecond, b.network.sentBytesPerSecond, 64 * KiB)
  );
}
