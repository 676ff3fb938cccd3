/** A small full image that shows a picture while it starts. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CACHE } from "../../cli/paths.ts";
import { type Colour, plainPng, readPng } from "../../qemu/testing/png.ts";
import { buildImage } from "../build/builder.ts";
import type { Recipe } from "../recipe.ts";
import { bootUntilSeen } from "../testing/boot.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-pictures-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const COLOUR: Colour = [230, 40, 180];
const SPLASH = { width: 400, height: 200 };
const recipe: Recipe = {
  mode: "full",
  kernel: "generic",
  distribution: "debian",
  release: "bookworm",
  packages: [],
  branding: { splash: "/usr/share/vireo/splash.png" },
  files: [
    {
      path: "/usr/share/vireo/splash.png",
      encoding: "base64",
      content: plainPng(SPLASH.width, SPLASH.height, COLOUR).toString("base64"),
    },
  ],
};
/** A base of packages that are not in the cache yet is made first. */
const BUILD_MS = 600_000;
const options = () => ({ name: "splash", folder: join(folder, "images"), cache: CACHE, progress: () => {} });

it(
  "shows its splash in the middle of the screen while it starts",
  async () => {
    const built = await buildImage({ ...options(), recipe });
    let share = 0;
    const look = (png: Buffer) => {
      const picture = readPng(png);
      share = picture.shareOf(COLOUR) * picture.width * picture.height;
      // It may just be drawing.
      return share >= SPLASH.width * SPLASH.height;
    };
    const boot = { memoryMiB: 384, timeoutMs: BUILD_MS / 2 };
    expect(await bootUntilSeen(options().folder, built, look, boot)).toBeGreaterThan(0);
    expect(share).toBe(SPLASH.width * SPLASH.height);
  },
  2 * BUILD_MS,
);
