/** Pictures of a full image: what its screen shows while it starts (plymouth), and the wallpaper of its desktop. */
import { open } from "node:fs/promises";
import { posix } from "node:path";
import { isPng } from "../../system/png.ts";
import type { Recipe } from "../recipe.ts";
import { desktopOf } from "../releases/release.ts";
import { rooted, writeRooted } from "../workshop/rooted.ts";
import { sealed } from "../workshop/sealed.ts";
import type { Workshop } from "../workshop/workshop.ts";

/** Packages that the recipe needs for them. */
export const picturePackages = ({ branding }: Recipe): string[] => (branding?.splash ? ["plymouth"] : []);

/** Of the kernel's command line: without the last, plymouth shows nothing while there is a serial console. */
export const pictureOptions = ({ branding }: Recipe): string =>
  branding?.splash ? " splash plymouth.ignore-serial-consoles" : "";

const THEME = "/usr/share/plymouth/themes/vireo";

const themeOf = (splash: string) => `[Plymouth Theme]
Name=vireo
ModuleName=script

[script]
ImageDir=${posix.dirname(splash)}
ScriptFile=${THEME}/vireo.script
`;

/** In the middle of the screen, whatever its size (https://www.freedesktop.org/wiki/Software/Plymouth/Scripts/). */
const scriptOf = (splash: string) => `picture = Image("${posix.basename(splash)}");
sprite = Sprite(picture);
sprite.SetX(Window.GetX() + Window.GetWidth() / 2 - picture.GetWidth() / 2);
sprite.SetY(Window.GetY() + Window.GetHeight() / 2 - picture.GetHeight() / 2);
`;

/** It waits 8 s for a screen by itself; an emulated machine's driver may take longer. */
const DAEMON = "[Daemon]\nTheme=vireo\nShowDelay=0\nDeviceTimeout=60\n";

const SCHEMAS = "/usr/share/glib-2.0/schemas";

/** What users have who have chosen nothing else. */
const gnomeDefaults = (wallpaper: string) => `[org.gnome.desktop.background]
picture-uri='file://${wallpaper}'
picture-uri-dark='file://${wallpaper}'

[org.gnome.desktop.screensaver]
picture-uri='file://${wallpaper}'
`;

/** plasmashell runs it once for each user (https://develop.kde.org/docs/plasma/scripting/). */
const kdeScript = (wallpaper: string) => `for (const desktop of desktops()) {
  desktop.wallpaperPlugin = "org.kde.image";
  desktop.currentConfigGroup = ["Wallpaper", "org.kde.image", "General"];
  desktop.writeConfig("Image", "file://${wallpaper}");
}
`;

/** Has the image show them; programs of its packages run. @throws Error */
export async function showPictures(work: Workshop, root: string, recipe: Recipe): Promise<void> {
  const { profile, branding: { splash, wallpaper } = {} } = recipe;
  if (splash) {
    await writeRooted(root, "/etc/plymouth/plymouthd.conf", DAEMON);
    await writeRooted(root, `${THEME}/vireo.plymouth`, themeOf(splash));
    await writeRooted(root, `${THEME}/vireo.script`, scriptOf(splash));
  }
  if (!wallpaper) return;
  if (desktopOf(profile) === "kde")
    return writeRooted(
      root,
      "/usr/share/plasma/shells/org.kde.plasma.desktop/contents/updates/vireo-wallpaper.js",
      kdeScript(wallpaper),
    );
  await writeRooted(root, `${SCHEMAS}/90_vireo.gschema.override`, gnomeDefaults(wallpaper));
  const compile = "/usr/lib/x86_64-linux-gnu/glib-2.0/glib-compile-schemas";
  await sealed(work, ["chroot", root, compile, SCHEMAS]);
}

export const PICTURES = ["splash", "wallpaper"] as const;

/** For users. */
export const missingPicture = (field: (typeof PICTURES)[number], path: string) =>
  `recipe.branding.${field}: the image has no file ${path}; bring it by recipe.files, an archive or a package`;

/** What a script of a package should have made is seen only now, and what is in the file. @throws Error naming the field */
export async function requirePictures(root: string, { branding = {} }: Recipe): Promise<void> {
  for (const field of PICTURES) {
    const path = branding[field];
    if (path === undefined) continue;
    const head = await firstBytes(await rooted(root, path));
    if (!head) throw new Error(missingPicture(field, path));
    if (path.endsWith(".png") && !isPng(head))
      throw new Error(`recipe.branding.${field}: ${path} is no picture in PNG`);
  }
}

async function firstBytes(path: string): Promise<Buffer | undefined> {
  const file = await open(path).catch(() => undefined);
  if (!file) return undefined;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
    return buffer.subarray(0, bytesRead);
  } catch {
    // A folder.
    return undefined;
  } finally {
    await file.close();
  }
}
