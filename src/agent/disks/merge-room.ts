/**
 * The room for a merge of layers (layers.ts), which copies all that one of the two holds before that is freed. In a pool without it, every guest there whose
 * disk grows would stand still, and the copying would begin again at each retry. What has begun is never looked at again: it goes on, and frees in the end.
 */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { roomIn } from "../../system/room.ts";
import { CommandError, run } from "../../system/run.ts";
import { enclosedImg } from "./enclosed-img.ts";
import { LayersError } from "./layer-records.ts";

/** The text is for users. */
export class NoRoomError extends LayersError {}

const MAP_MS = 60_000;

const mebibytes = (bytes: number) => Math.floor(bytes / 2 ** 20);

/** @throws NoRoomError when the pool has none for what the layer `from` holds */
export const checkRoom = async (from: string): Promise<void> => checkBytes(from, await bytesOf(from));

const bytesOf = async (path: string) => (await stat(path)).blocks * 512;

async function checkBytes(from: string, neededBytes: number): Promise<void> {
  const roomBytes = await roomIn(dirname(from));
  if (neededBytes > roomBytes)
    throw new NoRoomError(
      `a layer of its disks has to be merged into the next, which copies up to ${mebibytes(neededBytes)} MiB, and its storage pool has room for ${mebibytes(roomBytes)} MiB; make some`,
    );
}

/**
 * Which way a merge in a running QEMU copies less: what `from` holds up into `into`, right above it, or that down.
 * @param isWritten the guest writes to `into`
 * @throws NoRoomError
 */
export async function cheaperWay(
  into: string,
  from: string,
  { isWritten, mayGoDown }: { isWritten: boolean; mayGoDown: boolean },
): Promise<"up" | "down"> {
  const [upper, lower] = [await bytesOf(into), await bytesOf(from)];
  const down =
    !mayGoDown || upper >= lower ? Number.POSITIVE_INFINITY : isWritten ? upper : await writtenBytes(into);
  await checkBytes(from, Math.min(down, lower));
  return down < lower ? "down" : "up";
}

const Extents = Type.Array(Type.Object({ length: Type.Integer(), present: Type.Boolean() }));

/**
 * What of the disk a layer says itself. A block-commit of one that is not written to writes out its zeros, too (QEMU 7.2), which take no room in it: all that a guest has
 * discarded. @returns Infinity for one that says it in too many pieces
 */
async function writtenBytes(path: string): Promise<number> {
  const alone = `json:${JSON.stringify({ driver: "qcow2", backing: null, file: { driver: "file", filename: path } })}`;
  const args = ["map", "-U", "--output=json", alone];
  const map = await enclosedImg({ disk: { path, format: "qcow2" }, writes: [] }, ([first = "", ...rest]) =>
    run(first, [...rest, ...args], { timeoutMs: MAP_MS }),
  ).catch((error: unknown) => {
    if (error instanceof CommandError) return undefined;
    throw error;
  });
  if (map === undefined) return Number.POSITIVE_INFINITY;
  const extents = Value.Parse(Extents, JSON.parse(map));
  return extents.reduce((sum, { present, length }) => sum + (present ? length : 0), 0);
}
