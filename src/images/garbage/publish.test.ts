/** Files that get their names in the pool, killed at each step. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { publish } from "./publish.ts";
import { madeIn, removeMade } from "./removal.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-publish-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const BASE = "web-0123456789ab";
const NAMES = [`${BASE}.qcow2`, `${BASE}.vmlinuz`, `${BASE}.initrd`, `${BASE}.ova`];

/** Makes them in a folder of their own, and gives them their names up to the step that it is killed at. @returns whether it came to its end */
async function attempt(pool: string, killedAt: number): Promise<boolean> {
  const work = join(pool, ".work");
  mkdirSync(work, { recursive: true });
  const [file, kernel, initrd, ova] = NAMES;
  const description = join(work, "json");
  const artifacts = [{ format: "ova", file: ova }];
  writeFileSync(description, JSON.stringify({ file, boot: { kernel, initrd }, artifacts }));
  for (const name of NAMES) writeFileSync(join(work, name), name);
  const files = Object.fromEntries(NAMES.map((name) => [name, join(work, name)]));
  let steps = 0;
  try {
    await publish(pool, BASE, { description, files }, () => {
      if (steps++ === killedAt) throw new Error("killed");
    });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(work, { recursive: true });
  }
}

it("are all known to the collector, wherever it ends, and whole when it is done again", async () => {
  let whole = false;
  for (let kill = 0; !whole; kill++) {
    const pool = join(folder, `pool-${kill}`);
    whole = await attempt(pool, kill);
    const there = readdirSync(pool).sort();
    const made = await madeIn(pool);
    expect(made.flatMap(({ files }) => files).sort(), `killed at ${kill}`).toEqual(there);
    // Only what is whole is taken for an image.
    expect(there.includes(`${BASE}.json`)).toBe(whole);
    expect(made.every(({ sinceMs }) => (sinceMs !== undefined) === whole)).toBe(true);
    expect(await attempt(pool, Number.NaN)).toBe(true);
    expect(readdirSync(pool).sort()).toEqual([...NAMES, `${BASE}.json`].sort());
    await attempt(pool, kill);
    for (const each of await madeIn(pool)) await removeMade(pool, each);
    expect(readdirSync(pool)).toEqual([]);
  }
});
