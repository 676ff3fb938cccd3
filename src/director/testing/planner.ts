/** The planner as it runs in a control plane, by itself or with what carries its plans out, for tests. */
import type { Client } from "../../client/client.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { runPlanExecutor } from "../execution/executor.ts";
import { runPlanner } from "../planning/planner.ts";
import type { DirectorContext } from "../planning/scheduler.ts";

/** @returns ends it, and resolves when it has ended */
export const startPlanner = (client: Client) => start(client, [runPlanner]);

/** The same with the executor of plans. */
export const startDirector = (client: Client) => start(client, [runPlanner, runPlanExecutor]);

function start(
  client: Client,
  parts: readonly ((context: DirectorContext) => Promise<unknown>)[],
): () => Promise<void> {
  const stop = new AbortController();
  const context = { client, clock: systemClock, log: silentLogger, signal: stop.signal };
  const running = Promise.all(parts.map((run) => run(context)));
  return async () => {
    stop.abort();
    await running;
  };
}
