/** Room in a pool that others write to, too. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { writeAll } from "./received.ts";
import { withRoom } from "./room.ts";

it("is looked at again while something is written: what others leave is not used up", async () => {
  const never = new AbortController().signal;
  const free = [1000, 60, 40];
  const writing = withRoom(
    "pool",
    never,
    (maxBytes, signal) => {
      expect(maxBytes).toBe(1000);
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    },
    async () => free.shift() ?? 0,
  );
  await expect(writing).rejects.toThrow("needs more than is free in the storage pool");
  expect(free).toEqual([]);
});

it("writes all of what a file system takes in parts", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-room-"));
  try {
    const file = await open(join(folder, "file"), "w");
    // As on a disk that is nearly full.
    const inParts = (bytes: Uint8Array, from: number, length: number, at: number) =>
      file.write(bytes, from, Math.min(length, 7), at);
    await writeAll({ write: inParts as typeof file.write }, Buffer.from("all of it, in parts"), 3);
    await file.close();
    expect(readFileSync(join(folder, "file"), "utf8")).toBe("\0\0\0all of it, in parts");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
