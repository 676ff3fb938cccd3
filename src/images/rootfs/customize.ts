/** What a recipe says of an image besides its packages, in both modes: language, time zone, how it names itself. */
import { cp, lstat, mkdir, readdir, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import type { Recipe } from "../recipe.ts";
import type { Branding } from "../recipe-parts.ts";
import { type AptRelease, isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import { runPackaged } from "../workshop/packaged.ts";
import { rooted, rootedEntry, writeRooted } from "../workshop/rooted.ts";
import type { Workshop } from "../workshop/workshop.ts";

export const DEFAULT_LOCALE = "C.UTF-8";

/** Packages that the recipe needs for what it says. */
export function packagesFor(recipe: Recipe): string[] {
  const { locale = DEFAULT_LOCALE, timeZone = "UTC" } = recipe;
  const { locales, timeZones } = releaseOf(recipe);
  return [
    ...(locale === DEFAULT_LOCALE ? [] : [locales(locale.split("_")[0] ?? "")]),
    ...(timeZone === "UTC" ? [] : [timeZones]),
  ];
}

/** For users. @param near files of that language, as a distribution names them: de_AT, de_AT.utf8, de_AT@euro */
export function noLocale(locale: string, near: readonly string[]): string {
  // As the recipe has them.
  const all = [...new Set(near.map((each) => each.replace(/(?:\.utf8)?(@.*)?$/, ".UTF-8$1")))]
    .sort()
    .slice(0, 8);
  return `recipe.locale: there is no ${locale}${all.length ? `; of that language there is ${all.join(", ")}` : ""}`;
}

/** @throws Error naming the field */
export async function customize(root: string, recipe: Recipe): Promise<void> {
  const { branding = {}, locale, timeZone } = recipe;
  const put = (path: string, content: string) => writeRooted(root, path, content);
  if (branding.issue !== undefined) {
    await put("/etc/issue", lines(branding.issue));
    await put("/etc/issue.net", lines(branding.issue));
  }
  if (branding.motd !== undefined) await put("/etc/motd", lines(branding.motd));
  await put("/etc/os-release", await osRelease(root, recipe));
  if (timeZone !== undefined) {
    const zone = `/usr/share/zoneinfo/${timeZone}`;
    if (timeZone !== "UTC" && !(await lstat(await rooted(root, zone)).catch(() => undefined)))
      throw new Error(`recipe.timeZone: tzdata has no zone ${timeZone}`);
    const local = await rootedEntry(root, "/etc/localtime");
    await rm(local, { force: true });
    await symlink(zone, local);
    await put("/etc/timezone", `${timeZone}\n`);
  }
  if (locale !== undefined) {
    await put("/etc/default/locale", `LANG=${locale}\n`);
    await put("/etc/locale.conf", `LANG=${locale}\n`);
  }
}

const lines = (text: string) => (text.endsWith("\n") ? text : `${text}\n`);

/** Of a file of a language; the largest that Debian has are some MiB. */
const MOST_LOCALE = 64 * 2 ** 20;

/**
 * Of the image's own files and with its own program: the build machine may have another libc.
 * @throws Error naming the field
 */
export async function makeLocale(work: Workshop, root: string, recipe: Recipe): Promise<void> {
  const { locale = DEFAULT_LOCALE, mode } = recipe;
  if (locale === DEFAULT_LOCALE) return;
  if (isRpm(releaseOf(recipe))) return requireLocale(root, locale);
  const source = locale.replace(".UTF-8", "");
  const i18n = await rooted(root, "/usr/share/i18n");
  const sources = join(i18n, "locales");
  if (!(await lstat(join(sources, source)).catch(() => undefined))) {
    const near = (await readdir(sources)).filter((name) => name.startsWith(source.slice(0, 2)));
    throw new Error(noLocale(locale, near));
  }
  const made = join(work.folder, "locale");
  await mkdir(made);
  const libraries = await rooted(root, "/usr/lib/x86_64-linux-gnu");
  const program = await rooted(root, "/usr/bin/localedef");
  const linker = join(libraries, "ld-linux-x86-64.so.2");
  const localedef = ["--library-path", libraries, program, "--no-archive"];
  await runPackaged(
    work,
    [
      linker,
      ...localedef,
      "--inputfile",
      join(sources, source),
      "--charmap",
      "UTF-8",
      join(made, locale, "/"),
    ],
    { tree: root, writes: [made], fileBytes: MOST_LOCALE, env: { I18NPATH: i18n } },
  );
  const entries = await readdir(made, { withFileTypes: true, recursive: true });
  const odd = entries.find((entry) => !entry.isFile() && !entry.isDirectory());
  if (odd) throw new Error(`recipe.locale: localedef made ${odd.name}, which is no file`);
  const to = await rooted(root, `/usr/lib/locale/${locale}`);
  await rm(to, { recursive: true, force: true });
  await cp(join(made, locale), to, { recursive: true });
  await rm(made, { recursive: true });
  // What locale-gen makes anew in the machine.
  const gen = "/etc/locale.gen";
  const before = await readFile(await rooted(root, gen), "utf8").catch(() => "");
  await writeRooted(root, gen, `${before}${locale} UTF-8\n`);
  if (mode !== "full") await rm(i18n, { recursive: true });
}

/** RPMs bring them as they are used. @throws Error */
async function requireLocale(root: string, locale: string): Promise<void> {
  const folder = await rooted(root, "/usr/lib/locale");
  const all = (await readdir(folder).catch(() => [])).map((name) => name.replace(".utf8", ".UTF-8"));
  if (all.includes(locale)) return;
  throw new Error(
    `recipe.locale: there is no ${locale}${all.length ? `; there is ${all.slice(0, 8).join(", ")}` : ""}`,
  );
}

const OS_RELEASE_FIELDS = {
  name: "NAME",
  prettyName: "PRETTY_NAME",
  variant: "VARIANT",
  variantId: "VARIANT_ID",
  imageId: "IMAGE_ID",
  imageVersion: "IMAGE_VERSION",
  vendorName: "VENDOR_NAME",
  homeUrl: "HOME_URL",
  supportUrl: "SUPPORT_URL",
  bugReportUrl: "BUG_REPORT_URL",
} as const satisfies Record<keyof NonNullable<Branding["osRelease"]>, string>;

const ownOsRelease = ({ id, name, versionId }: AptRelease, codename: string) =>
  `PRETTY_NAME="${name} ${versionId} (${codename})"\nNAME="${name}"\nVERSION_ID="${versionId}"\nVERSION="${versionId} (${codename})"\nVERSION_CODENAME=${codename}\nID=${id}\n`;

/** The package's text with the recipe's fields in it; slim images may have no such package, and scanners still have to know what it is. */
async function osRelease(root: string, recipe: Recipe): Promise<string> {
  const release = releaseOf(recipe);
  const known = await readFile(await rooted(root, "/etc/os-release"), "utf8").catch(() =>
    isRpm(release) ? "" : ownOsRelease(release, recipe.release),
  );
  const fields = new Map(
    known
      .split("\n")
      .filter(Boolean)
      .map((line) => [line.split("=")[0] ?? "", line] as const),
  );
  const asked = recipe.branding?.osRelease ?? {};
  for (const [field, name] of Object.entries(OS_RELEASE_FIELDS)) {
    const value = asked[field as keyof typeof OS_RELEASE_FIELDS];
    // As a shell reads it in double quotes.
    if (value !== undefined) fields.set(name, `${name}="${value.replace(/["$`\\]/g, "\\$&")}"`);
  }
  return [...fields.values(), ""].join("\n");
}
