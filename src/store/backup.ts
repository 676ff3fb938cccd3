/**
 * A backup of the state as lines of JSON: a head, the installation's files (keys, tokens), every entry as of one revision, and an end with
 * count and checksum, without which a backup is not whole. Consistent while others write: it is one range of the store.
 */

import { createHash } from "node:crypto";
import { isFields } from "../resource/fields.ts";
import type { Store } from "./store.ts";

const FORMAT = 1;
/**
 * How far revisions jump at a restore: more than could have been given since the backup, so that no client which has seen newer ones
 * ever takes an old state for one it knows.
 */
const JUMP = 1_000_000_000;
/** Entries that are written at once. */
const GROUP = 500;

export class BackupError extends Error {}

export interface BackupHead {
  time: string;
  version: string;
  revision: number;
}

/** Everything, line by line, each with its newline. `files`: what the installation needs besides, by name. */
export async function* backupLines(
  store: Store,
  about: { time: string; version: string; files: Readonly<Record<string, string>> },
): AsyncGenerator<string> {
  const hash = createHash("sha256");
  const line = (value: object) => {
    const text = `${JSON.stringify(value)}\n`;
    hash.update(text);
    return text;
  };
  const { entries, revision } = await store.range("");
  yield line({ vireoBackup: FORMAT, time: about.time, version: about.version, revision });
  for (const [file, text] of Object.entries(about.files)) yield line({ file, text });
  for (const { key, value } of entries) yield line({ key, value });
  yield `${JSON.stringify({ end: { entries: entries.length, sha256: hash.digest("hex") } })}\n`;
}

export interface Backup {
  head: BackupHead;
  files: Record<string, string>;
  entries: { key: string; value: string }[];
}

/** Reads a whole backup (without newlines in the lines) and checks it. @throws BackupError naming the line */
export async function readBackup(lines: AsyncIterable<string>): Promise<Backup> {
  const hash = createHash("sha256");
  let head: BackupHead | undefined;
  const files: Backup["files"] = {};
  const entries: Backup["entries"] = [];
  let ended = false;
  let number = 0;
  for await (const text of lines) {
    number++;
    const wrong = (what: string) => new BackupError(`line ${number}: ${what}`);
    if (ended) throw wrong("there is more after the end of the backup");
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new BackupError(`line ${number}: is not JSON: the file is damaged or not a backup`, { cause });
    }
    if (!isFields(value)) throw wrong("is not a part of a backup");
    if (!head) {
      const { vireoBackup: format, time, version, revision } = value;
      if (typeof format !== "number" || typeof time !== "string" || typeof revision !== "number")
        throw wrong("is not the head of a backup: was the file made by `vireo backup state`?");
      if (format !== FORMAT)
        throw wrong(`the backup has format ${format}, and this version reads format ${FORMAT}`);
      head = { time, version: String(version), revision };
    } else if (isFields(value.end)) {
      ended = true;
      if (value.end.sha256 !== hash.digest("hex") || value.end.entries !== entries.length)
        throw wrong("the checksum does not match: the file was changed or damaged");
      continue;
    } else if (typeof value.file === "string" && typeof value.text === "string") {
      if (!/^[a-z0-9][a-z0-9._-]*$/.test(value.file)) throw wrong("has a file name that is none");
      files[value.file] = value.text;
    } else if (typeof value.key === "string" && typeof value.value === "string")
      entries.push({ key: value.key, value: value.value });
    else throw wrong("is neither a file nor an entry");
    hash.update(`${text}\n`);
  }
  if (!head || !ended) throw new BackupError(`line ${number}: the backup is cut off: its end is missing`);
  return { head, files, entries };
}

/** Fills an empty store. @throws BackupError when it is not empty */
export async function restoreEntries(store: Store, { head, entries }: Backup): Promise<void> {
  if ((await store.range("")).entries.length > 0)
    throw new BackupError("the store is not empty; a restore never overwrites: give it an empty one");
  await store.continueAfter(head.revision + JUMP);
  for (let i = 0; i < entries.length; i += GROUP)
    await Promise.all(
      entries.slice(i, i + GROUP).map(({ key, value }) => store.commit({ key, value, expected: 0 })),
    );
}
