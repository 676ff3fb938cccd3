/** What the pictures of an image are shown by; of GNOME, its own program makes something of it (bench/desktop.ts). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Recipe } from "../recipe.ts";
import { requirePictures, showPictures } from "./pictures.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "vireo-pictures-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const recipe = (branding: Recipe["branding"]): Recipe => ({
  distribution: "debian",
  release: "bookworm",
  packages: [],
  ...{ mode: "full", profile: "kde", branding: branding ?? {} },
});
const work = () => ({ folder: root, cache: root, log: () => {} });
const text = (path: string) => readFileSync(join(root, path), "utf8");

it("plymouth and KDE are told where they are", async () => {
  await showPictures(work(), root, recipe({ splash: "/srv/a/splash.png", wallpaper: "/srv/a/wall.jpg" }));
  expect(text("etc/plymouth/plymouthd.conf")).toContain("Theme=vireo");
  expect(text("usr/share/plymouth/themes/vireo/vireo.plymouth")).toContain("ImageDir=/srv/a\n");
  expect(text("usr/share/plymouth/themes/vireo/vireo.script")).toContain('Image("splash.png")');
  const script = "usr/share/plasma/shells/org.kde.plasma.desktop/contents/updates/vireo-wallpaper.js";
  expect(text(script)).toContain('"file:///srv/a/wall.jpg"');
});

it("what is missing, or no picture, is told with its field", async () => {
  const branding = { splash: "/splash.png" };
  await expect(requirePictures(root, recipe(branding))).rejects.toThrow(
    "recipe.branding.splash: the image has no file /splash.png; bring it by recipe.files, an archive or a package",
  );
  writeFileSync(join(root, "splash.png"), "text");
  await expect(requirePictures(root, recipe(branding))).rejects.toThrow(
    "recipe.branding.splash: /splash.png is no picture in PNG",
  );
});
