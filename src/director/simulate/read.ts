/** Finds out what a trace is by its name and first line, and reads it: a folder or tar archive of a file a machine, or a CSV file, packed by gzip or not. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { readCsv } from "./csv.ts";
import { InputError, readSeries, type Sizes, type Trace } from "./trace.ts";

/** Unpacked; a month of the largest published traces is less. */
const MAX_BYTES = 512 * 2 ** 20;

/** @throws InputError naming file and line */
export function readTrace(path: string, sizes: Sizes): Trace {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new InputError(`${path}: no such file`);
  if (stat.isDirectory())
    return ofSeries(
      path,
      readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name }) => ({ name, text: readFileSync(join(path, name), "utf8") })),
      sizes,
    );
  const data = unpacked(path);
  if (/\.(tar|tgz|tar\.gz)$/.test(path)) return ofSeries(path, filesOf(data, path), sizes);
  if (/\.csv(\.gz)?$/.test(path)) {
    const meta = metaOf(path);
    const beside = meta ? { text: unpacked(meta).toString("utf8"), file: meta } : undefined;
    return readCsv(data.toString("utf8"), path, sizes, beside);
  }
  throw new InputError(`${path}: a folder, .tar, .tar.gz, .tgz, .csv or .csv.gz is needed`);
}

function unpacked(path: string): Buffer {
  const data = readFileSync(path);
  if (!/gz$/.test(path)) return data;
  try {
    return gunzipSync(data, { maxOutputLength: MAX_BYTES });
  } catch (cause) {
    throw new InputError(`${path}: cannot be unpacked: ${cause instanceof Error ? cause.message : "?"}`, {
      cause,
    });
  }
}

/** "bitbrains-small-meta.csv" beside "bitbrains-small.csv.gz" or "bitbrains-small-30d.csv". */
function metaOf(path: string): string | undefined {
  const base = path.replace(/\.csv(\.gz)?$/, "");
  return [base, base.replace(/-[^-/]*$/, "")]
    .map((name) => `${name}-meta.csv`)
    .find((name) => existsSync(name));
}

function ofSeries(path: string, files: readonly { name: string; text: string }[], sizes: Sizes): Trace {
  if (files.length === 0) throw new InputError(`${path}: holds no file; one for each machine is needed`);
  const names = new Set<string>();
  const machines = files
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, text }) => {
      // As names of machines may be.
      const plain = basename(name)
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, "-")
        .replace(/^-|-$/g, "");
      let unique = plain;
      for (let i = 2; names.has(unique); i++) unique = `${plain}-${i}`;
      names.add(unique);
      return readSeries(text, `${path}/${name}`, unique, sizes);
    });
  const steps = Math.min(...machines.map(({ use }) => use.length));
  return { startMs: 0, steps, machines };
}

const BLOCK = 512;

/** Plain files of a tar archive (POSIX ustar; a trace needs no more). */
function filesOf(data: Buffer, path: string): { name: string; text: string }[] {
  const files: { name: string; text: string }[] = [];
  const field = (from: number, length: number) =>
    data
      .toString("latin1", from, from + length)
      .replace(/\0[\s\S]*$/, "")
      .trim();
  for (let at = 0; at + BLOCK <= data.length; ) {
    const name = field(at, 100);
    if (name === "") break;
    const size = Number.parseInt(field(at + 124, 12), 8);
    if (!(size >= 0) || at + BLOCK + size > data.length)
      throw new InputError(`${path}: is no tar archive, or was cut off at byte ${at}`);
    const kind = field(at + 156, 1);
    if ((kind === "0" || kind === "") && !basename(name).startsWith("."))
      files.push({ name, text: data.toString("utf8", at + BLOCK, at + BLOCK + size) });
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}
