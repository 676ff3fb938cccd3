/** Languages of distributions that have each in a package of its own. Pure. */
import { nearest } from "../packages/nearest.ts";
import type { RpmRelease } from "../releases/release.ts";

/**
 * @param names of all packages
 * @returns the package of the locale's language -> that there is none, for users, with languages that may have been meant
 */
export function withoutLanguage(
  locale: string | undefined,
  { locales, title }: Pick<RpmRelease, "locales" | "title">,
  names: ReadonlySet<string>,
): Map<string, string> {
  const language = locale?.split("_")[0] ?? "";
  const prefix = locales("");
  // One package has all of them.
  if (locale === undefined || locales(language) === prefix) return new Map();
  const all = [...names]
    .flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []))
    .filter((each) => /^[a-z]{2,3}$/.test(each))
    .sort();
  const near = nearest(language, all);
  const hint = near.length > 0 ? `; did you mean ${near.join(" or ")}?` : "";
  return new Map([
    [locales(language), `recipe.locale: ${title} has no language ${language}, of ${locale}${hint}`],
  ]);
}
