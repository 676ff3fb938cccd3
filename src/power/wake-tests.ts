/**
 * Begins wake tests that are due, of one host of the estate at a time, and tells on the others what theirs wait for. Of a host with machines the test begins with their
 * being moved elsewhere, by plans (director/power/emptying.ts).
 */
import type { Client } from "../client/client.ts";
import type { Host } from "../compute/hosts/kinds.ts";
import { Instance } from "../compute/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { EventRecorder } from "../reconcile/events.ts";
import type { Informer } from "../reconcile/informer.ts";
import { getCondition } from "../resource/object.ts";
import { type Emptying, isEmptied, type Task } from "./kinds.ts";
import type { Seen, Standing, Waiting } from "./next.ts";
import { about, goingWords, isOverdue, whyOccupied } from "./telling.ts";

export interface WakeTestsOptions {
  client: Client;
  clock: Clock;
  hosts: Informer<Host>;
  events: EventRecorder;
  /** What else a host's wake test waits for; undefined: nothing, or machines that are there can be moved elsewhere. Absent: nobody moves machines. */
  waits: ((host: Host) => Promise<string | undefined>) | undefined;
  intervals: { busyMs: number; emptyingMs: number; idleMs: number };
  enqueue: (name: string) => void;
  /** Writes the task. @returns the host then; undefined: machines are on it */
  begin: (host: Host, seen: Seen, of: { task: Task }) => Promise<Host | undefined>;
  /** Writes how the host stands. @returns the host then; undefined: it was so before */
  write: (
    host: Host,
    seen: Seen,
    standing: Standing,
    change: { due: { message: string; isOver: boolean }; emptying?: Emptying },
  ) => Promise<Host | undefined>;
}

export class WakeTests {
  readonly #options: WakeTestsOptions;
  /** The host whose test is being begun, until the informer shows what was written of it. */
  #beginner: { name: string; revision: number } | undefined;
  /** Hosts that wait for that. */
  readonly #queue = new Set<string>();

  constructor(options: WakeTestsOptions) {
    this.#options = options;
  }

  /** To be called when the informer has heard of the host. */
  release(name: string): void {
    const { hosts, enqueue } = this.#options;
    const { resourceVersion = Number.POSITIVE_INFINITY } = hosts.get(name)?.metadata ?? {};
    if (this.#beginner?.name !== name || Number(resourceVersion) < this.#beginner.revision) return;
    this.#beginner = undefined;
    const [next] = this.#queue;
    if (next === undefined) return;
    this.#queue.delete(next);
    enqueue(next);
  }

  /** Of a host whose test is due. @param otherwise how it stands while that waits */
  async begin(host: Host, seen: Seen, task: Task, otherwise: Waiting): Promise<{ requeueAfterMs: number }> {
    const { client, clock, hosts, events, begin, write, waits: others, intervals } = this.#options;
    const { busyMs, emptyingMs, idleMs } = intervals;
    const { name } = host.metadata;
    const now = clock.now().getTime();
    const runs = await client.list(Instance, { fieldSelector: `spec.host=${name}`, shared: true });
    const there = runs.items.filter(({ status }) => status?.custody !== "Released");
    const { emptying } = host.status?.power ?? {};
    const goesOn = isEmptied(host) ? emptying : undefined;
    const isAfter = hosts.list().some((other) => goesBefore(other, host));
    this.#queue.delete(name);
    const begins = !isAfter && !goesOn;
    if (begins) {
      // It is not known yet what is to be told.
      if (this.#beginner && this.#beginner.name !== name) {
        this.#queue.add(name);
        return { requeueAfterMs: idleMs };
      }
      this.#beginner = { name, revision: Number.POSITIVE_INFINITY };
    }
    let written: Host | undefined;
    const waits = async () => {
      if (isAfter) return "for that of another host";
      const lasting = there.length === 0 ? undefined : whyOccupied(there, emptying, now);
      if (lasting) return lasting;
      return there.length > 0 && !others ? "until no machine is on it" : others?.(host);
    };
    try {
      const why = await waits();
      if (!why && there.length === 0) written = await begin(host, seen, { task });
      if (written) return { requeueAfterMs: busyMs };
      const due = `${otherwise.due}, and ${why ? `waits ${why}` : there.length > 0 ? goingWords(there) : "waits until no machine is on it"}`;
      const { status, reason, message } = otherwise;
      const isOver = otherwise.isOver && !isOverdue(host);
      const standing = { status, reason, message: `${message}; ${due}` };
      // One that gives way begins anew in its turn.
      const ends = why && !isAfter ? goesOn : undefined;
      const next: Emptying | undefined = why
        ? ends && { ...ends, endedTime: new Date(now).toISOString(), message: why }
        : there.length > 0
          ? (goesOn ?? { startedTime: new Date(now).toISOString() })
          : goesOn;
      const change = {
        due: { message: due, isOver: otherwise.isOver },
        ...(next ? { emptying: next } : {}),
      };
      written = await write(host, seen, standing, change);
      if (written) {
        if (isOver) events.record(about(host), "Warning", "WakeTestOverdue", due);
        if (next !== goesOn)
          events.record(about(host), "Normal", next && !next.endedTime ? "Emptying" : "EmptyingGivenUp", due);
      }
      return { requeueAfterMs: next && !next.endedTime ? emptyingMs : idleMs };
    } finally {
      if (begins) this.#beginner = { name, revision: Number(written?.metadata.resourceVersion ?? 0) };
      this.release(name);
    }
  }
}

const readyOf = ({ status }: Host) => getCondition(status?.conditions, "Ready");
const isHeard = (host: Host) => readyOf(host)?.status === "True";

/** Whether the other's wake test goes before that of the host: it has begun, or the other is emptied for it, the longer of two. */
function goesBefore(other: Host, host: Host): boolean {
  if (other.metadata.name === host.metadata.name) return false;
  if (other.status?.power?.task?.kind === "WakeTest") return true;
  // Of a silent one nobody knows how long it stays so: others have their turn meanwhile.
  if (!isEmptied(other) || !isHeard(other)) return false;
  if (!isEmptied(host)) return true;
  // One that was silent gives way to who began meanwhile.
  const since = (of: Host) => {
    const { startedTime = "" } = of.status?.power?.emptying ?? {};
    const { lastTransitionTime = "" } = readyOf(of) ?? {};
    return `${startedTime > lastTransitionTime ? startedTime : lastTransitionTime} ${of.metadata.name}`;
  };
  return since(other) < since(host);
}
