/**
 * A session with a machine's console that outlives its runs: to each run in turn a stream is opened at its host, and handed on. One that breaks
 * although the run goes on (its agent was started anew) is opened again.
 */
import type { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { isApiError } from "../resource/errors.ts";
import type { AgentLink, Stream } from "./agent-link.ts";
import type { Run, Runs } from "./runs.ts";

const RETRY_MS = 200;
const RETRY_MAX_MS = 5000;
/** A stream that ends sooner is no sign that all is well. */
const STEADY_MS = 2000;

export interface Attendance {
  /** The path of its stream at the agent. */
  path: (run: Run) => string;
  /** Uses the stream until it ends, `moved` says that the machine is another run now, or `over` that nobody looks on any more. */
  attend: (stream: Stream, run: Run, until: { moved: AbortSignal; over: AbortSignal }) => Promise<void>;
}

/** The first stream; undefined when the machine does not run yet. @throws ApiError when it cannot be had */
export async function firstStream(
  runs: Runs,
  link: AgentLink,
  path: (run: Run) => string,
): Promise<{ stream: Stream; run: Run } | undefined> {
  const run = await runs.run();
  return run && { run, stream: await link.open(run, path(run)) };
}

/** Until the signal aborts, or there is nothing to wait for. @returns why it ended, for the user */
export async function attendAll(
  runs: Runs,
  link: AgentLink,
  attendance: Attendance,
  options: { first: Awaited<ReturnType<typeof firstStream>>; signal: AbortSignal },
): Promise<string | undefined> {
  const { signal } = options;
  let next = options.first;
  let pause = RETRY_MS;
  while (!signal.aborted) {
    if (next) {
      const { uid } = next.run;
      const since = performance.now();
      await use(runs, attendance, next, signal);
      next = undefined;
      if (performance.now() - since > STEADY_MS || runs.current !== uid) pause = RETRY_MS;
      else pause = await waited(pause);
    }
    if (signal.aborted) return undefined;
    if (runs.over) return runs.over;
    try {
      next = await firstStream(runs, link, (run) => attendance.path(run));
    } catch (error) {
      if (!isApiError(error, "ServiceUnavailable", "Conflict", "Timeout")) throw error;
    }
    if (next || signal.aborted) continue;
    pause = await waited(pause);
  }
  next?.stream.socket.destroy();
  return undefined;

  /** Less when something changes. @returns the next pause */
  async function waited(ms: number): Promise<number> {
    await Promise.race([sleep(ms), runs.changed(signal)]);
    return Math.min(ms * 2, RETRY_MAX_MS);
  }
}

/** Until the viewer has taken what he was sent, or nobody is to send him more. */
export function taken(viewer: Writable, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      viewer.off("drain", done);
      viewer.off("close", done);
      over.removeEventListener("abort", done);
      resolve();
    };
    viewer.once("drain", done);
    viewer.once("close", done);
    over.addEventListener("abort", done, { once: true });
    if (over.aborted || viewer.destroyed) done();
  });
}

async function use(
  runs: Runs,
  attendance: Attendance,
  { stream, run }: { stream: Stream; run: Run },
  signal: AbortSignal,
): Promise<void> {
  const moved = new AbortController();
  const done = new AbortController();
  const until = AbortSignal.any([signal, done.signal]);
  // Between two runs there is none; only another one, or the end, counts.
  const isStill = () => runs.current === run.uid || (runs.current === undefined && !runs.over);
  const watch = async () => {
    while (!until.aborted && isStill()) await runs.changed(until);
    moved.abort();
  };
  void watch();
  try {
    await attendance.attend(stream, run, { moved: moved.signal, over: signal });
  } finally {
    done.abort();
    stream.socket.destroy();
  }
}
