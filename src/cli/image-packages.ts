/** `vireo image packages`: what there is to build images of, and what comes along with some of it. */

import { isFields } from "../resource/fields.ts";
import { formatBytes } from "../resource/quantity.ts";
import { connectTo } from "./connect.ts";
import type { Place } from "./resources.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;

const BASE = "/apis/vireo.dev/v1/distributions";

async function ask(place: Place, distribution: string, path: string): Promise<Record<string, unknown>> {
  const said = await connectTo(place).request({ method: "GET", path: `${BASE}/${distribution}/${path}` });
  return isFields(said) ? said : {};
}

const list = (value: unknown) => (Array.isArray(value) ? value.filter(isFields) : []);
const bytes = (value: unknown) => formatBytes(Number(value));
const text = (value: unknown) => (typeof value === "string" ? value : "");

/** Prints packages that have all words in their name or description. @throws UserError */
export async function printPackages(
  place: Place,
  words: readonly string[],
  options: { distribution: string; section?: string; limit: number },
  print: Print,
): Promise<void> {
  const query = new URLSearchParams({ search: words.join(" "), limit: String(options.limit) });
  if (options.section !== undefined) query.set("section", options.section);
  const { items, metadata } = await ask(place, options.distribution, `packages?${query}`);
  const found = list(items);
  if (found.length === 0)
    throw new UserError(`no package has ${words.join(" and ")} in its name or description`);
  for (const { name, section, installedBytes, description } of found)
    print(`${text(name)}  (${text(section)}, ${bytes(installedBytes)})  ${text(description)}`);
  const more = isFields(metadata) ? metadata.remainingItemCount : undefined;
  if (typeof more === "number") print(`and ${more} more; --limit shows more at once`);
}

/** Prints what is installed with the packages. @throws UserError for unknown names and conflicts */
export async function printClosure(
  place: Place,
  names: readonly string[],
  { distribution, mode, profile }: { distribution: string; mode: string; profile: string },
  print: Print,
): Promise<void> {
  const query = new URLSearchParams({ mode, profile });
  for (const name of names) query.append("package", name);
  const said = await ask(place, distribution, `closure?${query}`);
  const packages = list(said.packages);
  const every = profile === "minimal" ? "in every image" : `in every image of the profile ${profile}`;
  for (const { name, version, installedBytes, because, base } of packages) {
    const why = because ? `for ${text(because)}` : base ? every : "asked for";
    print(`${text(name)} ${text(version)}  ${bytes(installedBytes)}, ${why}`);
  }
  print(
    `${packages.length} packages, ${bytes(said.installedBytes)} installed, ${bytes(said.downloadBytes)} to download, without the kernel`,
  );
  const wrong = [
    ...list(said.unknown).map(({ name, nearest }) => {
      const near =
        Array.isArray(nearest) && nearest.length > 0 ? `; did you mean ${nearest.join(" or ")}?` : "";
      return `there is no package ${text(name)}${near}`;
    }),
    ...list(said.conflicts).map((conflict) => `${text(conflict.package)}: ${text(conflict.reason)}`),
  ];
  if (wrong.length > 0) throw new UserError(wrong.join("; "));
}
