/** `vireo backup state` and `vireo restore state`: everything the control plane knows, in one file. */
import {
  chmodSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { writeSecret } from "../api/secret-file.ts";
import { lines } from "../client/lines.ts";
import { type Backup, BackupError, readBackup, restoreEntries } from "../store/backup.ts";
import { openStore } from "../store/open.ts";
import { connectTo } from "./connect.ts";
import type { StatePaths } from "./paths.ts";
import { readRecord, readSettings, writeSettings } from "./record.ts";
import { UserError } from "./user-error.ts";

// Not readline: it takes U+2028 for the end of a line, and JSON may hold it as it is.
const linesOf = (file: string) => lines(createReadStream(file));

async function read(file: string): Promise<Backup> {
  if (!existsSync(file)) throw new UserError(`${file}: there is no such file`);
  try {
    return await readBackup(linesOf(file));
  } catch (error) {
    if (error instanceof BackupError) throw new UserError(`${file}: ${error.message}`);
    throw error;
  }
}

/** While everything runs. The file appears whole or not at all, and is its owner's alone: it holds all keys. @throws UserError */
export async function backupState(
  paths: StatePaths,
  file: string,
  print: (line: string) => void,
): Promise<void> {
  const target = resolve(file);
  if (existsSync(target))
    throw new UserError(`${file}: exists already; a backup is never written over another`);
  if (!existsSync(dirname(target))) throw new UserError(`${dirname(target)}: there is no such folder`);
  const part = `${target}.${process.pid}.part`;
  const client = connectTo({ paths });
  try {
    const withEnds = async function* () {
      for await (const line of client.lines("/backup")) yield `${line}\n`;
    };
    await pipeline(Readable.from(withEnds()), createWriteStream(part, { mode: 0o600, flush: true }));
    chmodSync(part, 0o600);
    const { head, entries } = await read(part);
    renameSync(part, target);
    print(
      `${file}: ${entries.length} objects as of ${head.time}. It holds the keys of this installation: keep it safe.`,
    );
  } finally {
    rmSync(part, { force: true });
    client.close();
  }
}

/** Into a state folder without state, or an empty store elsewhere; the keys may be there already. Hosts find the control plane again when it has the same address. @throws UserError */
export async function restoreState(
  paths: StatePaths,
  file: string,
  options: { store?: string },
  print: (line: string) => void,
): Promise<void> {
  const backup = await read(file);
  if (readRecord(paths))
    throw new UserError(`${paths.state} is in use; run \`vireo down\`, or name another folder with --state`);
  for (const [name, text] of Object.entries(backup.files)) {
    const taken = join(paths.pki, name);
    if (existsSync(taken) && readFileSync(taken, "utf8") !== text)
      throw new UserError(
        `${taken} is not as in the backup; a restore never overwrites: move ${paths.pki} away, or name another folder with --state`,
      );
  }
  if (!options.store && existsSync(paths.store))
    throw new UserError(
      `${paths.store} exists already; a restore never overwrites: move it away, or name another folder with --state`,
    );
  mkdirSync(paths.state, { recursive: true, mode: 0o755 });
  const store = await openStore(options.store ?? paths.store);
  try {
    await restoreEntries(store, backup);
  } catch (error) {
    if (error instanceof BackupError)
      throw new UserError(`${options.store ?? paths.store}: ${error.message}`);
    throw error;
  } finally {
    await store.close();
  }
  const { store: _, ...settings } = readSettings(paths);
  writeSettings(paths, { ...settings, ...(options.store ? { store: options.store } : {}) });
  // Last: without them nothing starts, and the restore can be begun again.
  for (const [name, text] of Object.entries(backup.files)) writeSecret(join(paths.pki, name), text);
  print(
    `${paths.state}: ${backup.entries.length} objects as of ${backup.head.time} are back; start with \`vireo up\``,
  );
}
