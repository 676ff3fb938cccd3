/**
 * The search of anneal.ts on several cores: the same model in shared memory, a worker thread for each, the best of their results. For published instances
 * (bench/roadef.ts), which have minutes; a plan, which has a tenth of a second, anneals where it is made.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { anneal, temper } from "./anneal.ts";
import type { Model } from "./model.ts";
import { State } from "./state.ts";

export interface SolveOptions {
  /** The result is there by then, ms since the epoch. */
  untilMs?: number;
  /** Proposals of each thread; without `untilMs` the result depends on nothing else. */
  steps?: number;
  threads: number;
  seed: number;
}

interface Task {
  solver: "vireo";
  model: Model;
  at: Int32Array;
  options: SolveOptions;
  /** Which of the threads this is. */
  index: number;
}

/** Where each item should be: never worse than `at`, and with room for all if that had. */
export async function solve(model: Model, at: Int32Array, options: SolveOptions): Promise<Int32Array> {
  const shared = share({ model, at });
  const results = await Promise.all(
    Array.from({ length: options.threads }, (_, index) =>
      work({ solver: "vireo", ...shared, options, index }),
    ),
  );
  // Each is at least as good as `at`.
  let best: Outcome = { at, cost: Number.POSITIVE_INFINITY };
  for (const result of results) if (result.cost < best.cost) best = result;
  return best.at;
}

interface Outcome {
  at: Int32Array;
  /** Infinite: some host has more than it has room for. */
  cost: number;
}

function work(task: Task): Promise<Outcome> {
  return new Promise((done, failed) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task });
    worker.once("message", (result: Outcome) => done(result));
    worker.once("error", failed);
    worker.once("exit", (code) => failed(new Error(`a solver thread ended with ${code} and no result`)));
  });
}

/** The same value with all its arrays of numbers in memory that threads share instead of copying. */
function share<T>(value: T): T {
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    const copy = new SharedArrayBuffer(bytes.length);
    new Uint8Array(copy).set(bytes);
    return Reflect.construct(value.constructor, [copy]);
  }
  if (Array.isArray(value)) return value.map(share) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, share(each)])) as T;
}

const isTask = (value: unknown): value is Task =>
  typeof value === "object" && value !== null && "solver" in value && value.solver === "vireo";

/** The checking of the results, and the way back. */
const MARGIN_MS = 150;
const ITEMS_A_MS = 200;
const UNPAYABLE = 1e6;

if (!isMainThread && isTask(workerData)) {
  const { model, at, options: given, index } = workerData;
  const { untilMs, steps } = given;
  const state = new State(model, at);
  const options = temper(state, given.seed + index, {
    ...(untilMs === undefined
      ? {}
      : { milliseconds: Math.max(1, untilMs - Date.now() - MARGIN_MS - model.items / ITEMS_A_MS) }),
    ...(steps === undefined ? {} : { steps }),
  });
  // One of them with hard room: which finds more depends on the estate, and this one always has a result.
  if (index % 2 === 1) options.priceHot = options.priceCold = UNPAYABLE;
  const result = anneal(state, options);
  // Here the code is warm; the thread that waits need not reckon.
  const found = new State(model, result);
  parentPort?.postMessage({
    at: result,
    cost: found.lacking ? Number.POSITIVE_INFINITY : found.cost,
  } satisfies Outcome);
}
