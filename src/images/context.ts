/** What the reconcilers of images work with. */
import type { Client } from "../client/client.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";
import type { Pools } from "./pool.ts";

export interface ImageContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** POOLS, but in tests. */
  pools?: Pools;
}
