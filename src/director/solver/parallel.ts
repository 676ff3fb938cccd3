/** The solver on several cores: the same model in shared memory, a worker thread for each, the best of their results. */
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
  const began = new State(model, at);
  let best = at;
  let least = began.lacking ? Number.POSITIVE_INFINITY : began.cost;
  for (const result of results) {
    const state = new State(model, result);
    if (state.lacking || state.cost >= least) continue;
    least = state.cost;
    best = result;
  }
  return best;
}

function work(task: Task): Promise<Int32Array> {
  return new Promise((done, failed) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: task });
    worker.once("message", (result: Int32Array) => done(result));
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
const MARGIN_MS = 80;
const ITEMS_A_MS = 200;

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
  // One of them with dearer room: on tight estates it finds more, on others less.
  if (index % 2 === 1) {
    options.priceHot *= 4;
    options.priceCold *= 3;
  }
  parentPort?.postMessage(anneal(state, options));
}
