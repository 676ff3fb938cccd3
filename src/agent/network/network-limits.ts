/**
 * How much goes through a NIC's tap, in bytes a second (spec.networkLimits):
 *
 *   to the guest    waits in a queue of the tap (token bucket, `tc … tbf`); what comes while that is full is dropped
 *   from the guest  has no queue to wait in: what is more than the limit is dropped where it comes out of the tap, before anybody else sees it,
 *                   by a table of nftables of this tap alone. A guest may send what it has saved in up to one second
 *
 * Both are set at once, while the guest runs. The queue goes with its tap; the table does not, and is named after it.
 */
import { run, succeeds } from "../../system/run.ts";

/** Bytes a second; no limit when absent. */
export interface TapLimits {
  receive?: number;
  send?: number;
}

const TABLE = "vireo_limit_";
const LEAST_BURST = 64 * 2 ** 10;
const MOST_BURST = 2 ** 24;

/** What may come at once: 10 ms, and never less than a packet as large as they get. */
const burstOf = (rate: number) => Math.min(MOST_BURST, Math.max(LEAST_BURST, Math.ceil(rate / 100)));

/** What waits at most: 100 ms. */
const queueOf = (rate: number) => Math.min(2 ** 28, burstOf(rate) + Math.ceil(rate / 10));

/** From now on. `isNew`: the tap has just been made. @param comment by which its table is known as its installation's */
export async function limitTap(
  tap: string,
  { receive, send }: TapLimits,
  comment: string,
  isNew = false,
): Promise<void> {
  if (receive !== undefined) {
    const bucket = ["rate", `${receive}bps`, "burst", `${burstOf(receive)}`, "limit", `${queueOf(receive)}`];
    await run("tc", ["qdisc", "replace", "dev", tap, "root", "tbf", ...bucket]);
  } else if (!isNew && (await tapsWithQueue()).has(tap))
    await run("tc", ["qdisc", "del", "dev", tap, "root"]);
  if (send !== undefined) await run("nft", ["-f", "-"], { input: tableOf(tap, send, comment) });
  else if (!isNew) await forgetTap(tap);
}

/** Of a tap that is gone. No-op when it has no limit. */
export async function forgetTap(tap: string): Promise<void> {
  await succeeds("nft", ["delete", "table", "netdev", `${TABLE}${tap}`]);
}

/** Those of these taps whose limits somebody has taken away. */
export async function unlimited(limits: ReadonlyMap<string, TapLimits>): Promise<string[]> {
  if (limits.size === 0) return [];
  const [queues, tables] = await Promise.all([tapsWithQueue(), run("nft", ["list", "tables", "netdev"])]);
  const sends = new Set(tapsOf(tables));
  return [...limits].flatMap(([tap, { receive, send }]) =>
    (receive === undefined || queues.has(tap)) && (send === undefined || sends.has(tap)) ? [] : [tap],
  );
}

/** The tap that a table of the family netdev is of; undefined when it is another's. */
export const limitedTap = (table: string): string | undefined =>
  table.startsWith(TABLE) ? table.slice(TABLE.length) : undefined;

const tapsOf = (tables: string) =>
  [...tables.matchAll(/^table netdev (\S+)$/gm)].flatMap(([, table = ""]) => limitedTap(table) ?? []);

async function tapsWithQueue(): Promise<Set<string>> {
  const all = (await run("tc", ["qdisc", "show"])).matchAll(/^qdisc tbf \S+ dev (\S+) root/gm);
  return new Set([...all].map(([, tap = ""]) => tap));
}

function tableOf(tap: string, rate: number, comment: string): string {
  const table = `table netdev ${TABLE}${tap}`;
  return `
    ${table}
    delete ${table}
    ${table} {
      comment "${comment}"
      chain send {
        type filter hook ingress device "${tap}" priority 0; policy accept;
        limit rate over ${rate} bytes/second burst ${burstOf(rate)} bytes drop
      }
    }
  `;
}
