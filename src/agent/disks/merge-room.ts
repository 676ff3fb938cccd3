/**
 * The room for a merge of layers (layers.ts), which copies all that one of the two holds before that is freed. In a pool without it, every guest there whose
 * disk grows would stand still, and the copying would begin again at each retry. What has begun is never looked at again: it goes on, and frees in the end.
 */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { roomIn } from "../../system/room.ts";
import { LayersError } from "./layer-records.ts";

/** The text is for users. */
export class NoRoomError extends LayersError {}

const mebibytes = (bytes: number) => Math.floor(bytes / 2 ** 20);

/** @throws NoRoomError when the pool has none for what the layer `from` holds */
export async function checkRoom(from: string): Promise<void> {
  const neededBytes = (await stat(from)).blocks * 512;
  const roomBytes = await roomIn(dirname(from));
  if (neededBytes > roomBytes)
    throw new NoRoomError(
      `a layer of its disks has to be merged into the next, which copies up to ${mebibytes(neededBytes)} MiB, and its storage pool has room for ${mebibytes(roomBytes)} MiB; make some`,
    );
}
