/**
 * What files of the application say by where they lie: folders that are shared, of which another package has the index, or whose files another program reads. Pure.
 */
import type { Confidence, Need } from "./needs.ts";

interface Place {
  /** "$1" in `path` is its first group. */
  pattern: RegExp;
  how: string;
  path: string;
  confidence: Confidence;
}

const PLACES: readonly Place[] = [
  // https://specifications.freedesktop.org/icon-theme-spec: icons of a theme without its index are not found.
  {
    pattern: /(?:^|\/)usr\/share\/icons\/([^/]+)\/.*\.(?:png|svg|xpm)$/,
    how: "has icons of the theme",
    path: "usr/share/icons/$1/index.theme",
    confidence: "likely",
  },
  // These do their work without the others, which are there on a whole system.
  {
    pattern: /(?:^|\/)etc\/logrotate\.d\/([^/]+)$/,
    how: "has rules for its logs:",
    path: "usr/sbin/logrotate",
    confidence: "possible",
  },
  {
    pattern: /(?:^|\/)etc\/cron\.(?:d|hourly|daily|weekly|monthly)\/([^/.]+)$/,
    how: "has jobs for",
    path: "usr/sbin/cron",
    confidence: "possible",
  },
  {
    pattern: /(?:^|\/)usr\/share\/dbus-1\/(?:system-)?services\/([^/]+)$/,
    how: "is a service of",
    path: "usr/bin/dbus-daemon",
    confidence: "possible",
  },
  {
    pattern: /(?:^|\/)usr\/share\/mime\/packages\/([^/]+)$/,
    how: "has types of files for",
    path: "usr/bin/update-mime-database",
    confidence: "possible",
  },
];

/** @param names of all its files; of a need only the first file that says so is told */
export function placeNeeds(names: readonly string[]): Need[] {
  const own = new Set(names);
  const needs = new Map<string, Need>();
  for (const name of names)
    for (const { pattern, how, path, confidence } of PLACES) {
      const match = pattern.exec(name);
      const needed = match && path.replace("$1", match[1] ?? "");
      if (!needed || needs.has(needed) || own.has(needed)) continue;
      needs.set(needed, { file: name, how, what: needed, paths: [needed], confidence });
    }
  return [...needs.values()];
}
