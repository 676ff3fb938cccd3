/**
 * A desktop image, built, and started under emulation until its wallpaper is seen: a user is logged in by itself. Pictures of its screen are kept.
 *   node bench/desktop.ts [gnome|kde] [LIMIT_S]     LIMIT_S: how long it may take to start (900)
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CACHE } from "../src/cli/paths.ts";
import { buildImage } from "../src/images/build/builder.ts";
import type { Recipe } from "../src/images/recipe.ts";
import { DESKTOPS } from "../src/images/releases/release.ts";
import { bootUntilSeen, NIC } from "../src/images/testing/boot.ts";
import { type Colour, plainPng, readPng } from "../src/qemu/testing/png.ts";
import { count } from "./measure.ts";

const WALLPAPER = "/usr/share/backgrounds/company.png";
const SPLASH = "/usr/share/backgrounds/splash.png";
const COLOURS = { wallpaper: [20, 120, 60], splash: [230, 40, 180] } as const satisfies Record<
  string,
  Colour
>;
/** Of the screen: panels and a welcome may cover the rest. */
const SEEN = 0.3;
const MEMORY_MIB = 3072;

const named = process.argv[2] ?? "gnome";
const desktop = DESKTOPS.find((each) => each === named);
if (!desktop) throw new Error(`${named}: is none of ${DESKTOPS.join(", ")}`);
const limitS = count(process.argv[3], 900, "LIMIT_S");

const LOGIN = {
  gnome: {
    path: "/etc/gdm3/daemon.conf",
    content: "[daemon]\nAutomaticLoginEnable=true\nAutomaticLogin=ada\n",
  },
  kde: { path: "/etc/sddm.conf.d/login.conf", content: "[Autologin]\nUser=ada\nSession=plasma\n" },
};
const picture = (path: string, png: Buffer) => ({
  path,
  encoding: "base64" as const,
  content: png.toString("base64"),
});
const recipe: Recipe = {
  mode: "full",
  distribution: "debian",
  release: "bookworm",
  profile: desktop,
  packages: [],
  users: [{ name: "ada", shell: "/bin/bash" }],
  branding: { wallpaper: WALLPAPER, splash: SPLASH },
  files: [
    picture(WALLPAPER, plainPng(640, 400, COLOURS.wallpaper)),
    picture(SPLASH, plainPng(400, 200, COLOURS.splash)),
    LOGIN[desktop],
  ],
};

const folder = mkdtempSync(join(tmpdir(), "vireo-desktop-"));
try {
  const begin = performance.now();
  const built = await buildImage({ name: desktop, recipe, folder, cache: CACHE, progress: () => {} });
  const took = (performance.now() - begin) / 1000;
  process.stdout.write(
    `${desktop}: ${built.packages?.length} packages, ${((built.allocatedBytes ?? 0) / 1e9).toFixed(2)} GB, built in ${took.toFixed(0)} s\n`,
  );
  let splash: number | undefined;
  const look = (png: Buffer, seconds: number) => {
    const { shareOf } = readPng(png);
    writeFileSync(join(tmpdir(), `${desktop}-last.png`), png);
    if (splash === undefined && shareOf(COLOURS.splash) > 0.05) {
      splash = seconds;
      process.stdout.write(`splash after ${seconds.toFixed(0)} s\n`);
    }
    return shareOf(COLOURS.wallpaper) > SEEN;
  };
  const devices = ["-smp", "2", "-device", "usb-ehci", "-device", "usb-tablet", ...NIC];
  const seen = await bootUntilSeen(folder, built, look, {
    memoryMiB: MEMORY_MIB,
    timeoutMs: limitS * 1000,
    devices,
  });
  process.stdout.write(
    `wallpaper ${seen === undefined ? `not seen within ${limitS} s` : `after ${seen.toFixed(0)} s`}; its last picture: ${join(tmpdir(), `${desktop}-last.png`)}\n`,
  );
  process.exitCode = seen === undefined || splash === undefined ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
