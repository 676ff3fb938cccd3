/** The planner as it runs in a control plane, for tests. */
import type { Client } from "../../client/client.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { runPlanner } from "../planning/planner.ts";

/** @returns ends it, and resolves when it has ended */
export function startPlanner(client: Client): () => Promise<void> {
  const stop = new AbortController();
  const running = runPlanner({ client, clock: systemClock, log: silentLogger, signal: stop.signal });
  return async () => {
    stop.abort();
    await running;
  };
}
