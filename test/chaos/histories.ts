/**
 * A history of what clients asked of the API and what they were told, and the check that one register per key explains it.
 *
 * Every write gives its key a new, higher resourceVersion, and its value is written once: so the order of a key's writes is known, and
 * linearizability comes down to this (a versioned register; compare Herlihy and Wing 1990):
 *
 *   - what is read was written, with that version;
 *   - an operation that began after another had ended never sees an older version than that one saw or made;
 *   - a compare-and-swap from version v was made on v itself: no write lies between the two;
 *   - a watch tells every write once, in order, without leaving one out, and nothing else.
 *
 * A write of which the client was told nothing certain may or may not have happened; where its value is seen, it has.
 */

export interface Operation {
  key: string;
  /** Milliseconds on one clock. */
  begin: number;
  end: number;
}
export interface Read extends Operation {
  kind: "read";
  /** Undefined: there was no such key. */
  seen: { version: number; value: string } | undefined;
}
export interface WriteOperation extends Operation {
  kind: "write";
  value: string;
  /** Version the writer had seen; 0: none. */
  from: number;
  /** done: told so, with its version. unknown: told nothing certain. (Writes that were refused are not recorded.) */
  outcome: { done: number } | "unknown";
}
export interface Watched {
  /** Everything after this version. */
  from: number;
  events: { key: string; version: number; value: string }[];
}

const MAX_SHOWN = 10;

/** @returns what is wrong; nothing when the history can be explained */
export function check(operations: readonly (Read | WriteOperation)[], watches: readonly Watched[]): string[] {
  const wrong: string[] = [];
  const written = new Map<string, WriteOperation>();
  for (const operation of operations) if (operation.kind === "write") written.set(operation.value, operation);
  /** value -> version, of all writes known to have happened. */
  const happened = new Map<string, number>();
  const saw = (who: string, key: string, version: number, value: string) => {
    const write = written.get(value);
    if (!write || write.key !== key) wrong.push(`${who} saw ${key}=${value}, which nobody wrote`);
    const before = happened.get(value);
    if (before !== undefined && before !== version)
      wrong.push(`${who} saw ${key}=${value} with version ${version}; it was written with ${before}`);
    happened.set(value, version);
  };
  for (const operation of operations)
    if (operation.kind === "write" && operation.outcome !== "unknown")
      saw("its writer", operation.key, operation.outcome.done, operation.value);
  for (const operation of operations)
    if (operation.kind === "read" && operation.seen)
      saw("a reader", operation.key, operation.seen.version, operation.seen.value);
  for (const { events } of watches)
    for (const { key, version, value } of events) saw("a watch", key, version, value);

  checkSwaps(written, happened, wrong);
  checkRealTime(operations, wrong);
  watches.forEach((watch, i) => {
    checkWatch(i, watch, written, happened, wrong);
  });
  return wrong.length > MAX_SHOWN
    ? [...wrong.slice(0, MAX_SHOWN), `and ${wrong.length - MAX_SHOWN} more`]
    : wrong;
}

/** Each write was made on the version that it says. */
function checkSwaps(
  written: ReadonlyMap<string, WriteOperation>,
  happened: ReadonlyMap<string, number>,
  wrong: string[],
): void {
  const byKey = new Map<string, { version: number; from: number; value: string }[]>();
  for (const [value, version] of happened) {
    const write = written.get(value);
    if (!write) continue;
    const list = byKey.get(write.key) ?? [];
    list.push({ version, from: write.from, value });
    byKey.set(write.key, list);
  }
  for (const [key, list] of byKey) {
    list.sort((a, b) => a.version - b.version);
    let last = 0;
    for (const { version, from, value } of list) {
      if (version === last) wrong.push(`${key}: two writes have version ${version}`);
      if (from !== last)
        wrong.push(`${key}=${value} was written on ${from}, but the version before it is ${last}`);
      last = version;
    }
  }
}

/** Versions never go back in time. */
function checkRealTime(operations: readonly (Read | WriteOperation)[], wrong: string[]): void {
  const byKey = new Map<string, { begin: number; end: number; version: number; isWrite: boolean }[]>();
  for (const operation of operations) {
    if (operation.kind === "write" && operation.outcome === "unknown") continue;
    const version =
      operation.kind === "read"
        ? (operation.seen?.version ?? 0)
        : operation.outcome === "unknown"
          ? 0
          : operation.outcome.done;
    const list = byKey.get(operation.key) ?? [];
    list.push({ begin: operation.begin, end: operation.end, version, isWrite: operation.kind === "write" });
    byKey.set(operation.key, list);
  }
  for (const [key, list] of byKey) {
    const ended = [...list].sort((a, b) => a.end - b.end);
    let newest = 0;
    let i = 0;
    for (const operation of list.sort((a, b) => a.begin - b.begin)) {
      for (let before = ended[i]; before && before.end < operation.begin; before = ended[++i])
        newest = Math.max(newest, before.version);
      if (operation.version < newest)
        wrong.push(`${key}: version ${operation.version} was seen after ${newest} had been`);
      else if (operation.isWrite && operation.version === newest)
        wrong.push(`${key}: version ${newest} was there before it was written`);
    }
  }
}

function checkWatch(
  index: number,
  { from, events }: Watched,
  written: ReadonlyMap<string, WriteOperation>,
  happened: ReadonlyMap<string, number>,
  wrong: string[],
): void {
  const name = `watch ${index}`;
  let last = from;
  const told = new Set<string>();
  for (const { key, version, value } of events) {
    if (version <= last) wrong.push(`${name}: ${key}=${value} (${version}) came after ${last}`);
    last = Math.max(last, version);
    told.add(value);
  }
  for (const [value, version] of happened)
    if (version > from && version <= last && !told.has(value))
      wrong.push(`${name} was not told of ${written.get(value)?.key}=${value} (${version})`);
}
