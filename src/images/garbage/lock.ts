/**
 * One at a time in each pool, and in this process, which is the one that leads: what makes files of a pool an image's, and what removes them. A pool that does not answer holds up itself
 * alone.
 */
import { Serial } from "../../system/serial.ts";

const pools = new Map<string, Serial>();

/** Runs when all before it in the pool's folder are over. @returns what it does. @throws what it does */
export function inTurn<T>(folder: string, action: () => Promise<T>): Promise<T> {
  const pool = pools.get(folder) ?? new Serial();
  pools.set(folder, pool);
  return pool.run(action);
}
