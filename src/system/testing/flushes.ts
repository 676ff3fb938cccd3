import { readlinkSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { onTestFinished, vi } from "vitest";

/** @param look at something, at each flush @returns what is flushed from now on, in its order, and what was seen then */
export async function watchFlushes<T>(look: () => T): Promise<{ path: string; seen: T }[]> {
  const flushes: { path: string; seen: T }[] = [];
  const file = await open(import.meta.filename);
  const prototype: FileHandle = Object.getPrototypeOf(file);
  await file.close();
  const { sync } = prototype;
  const spy = vi.spyOn(prototype, "sync").mockImplementation(function (this: FileHandle) {
    flushes.push({ path: readlinkSync(`/proc/self/fd/${this.fd}`), seen: look() });
    return sync.call(this);
  });
  onTestFinished(() => spy.mockRestore());
  return flushes;
}
