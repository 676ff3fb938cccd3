/** From an application to the packages that it needs: its files are read, what they need is looked up in the distribution. */
import { Packages } from "../packages/packages.ts";
import type { Application } from "./application.ts";
import { type Found, findPackages } from "./distribution.ts";
import { type Need, VERSIONS } from "./needs.ts";
import { needsOf } from "./read-file.ts";

/** @returns what its files say. @throws Error of the file system, or for a release that is not known */
export async function readNeeds(app: Application, release: string, signal?: AbortSignal): Promise<Need[]> {
  const versions = Object.hasOwn(VERSIONS, release) ? VERSIONS[release] : undefined;
  if (!versions)
    throw new Error(
      `release: ${JSON.stringify(release)} is not known; it is ${Object.keys(VERSIONS).join(" or ")}`,
    );
  const needs: Need[] = app.links.map(({ name, target }) => ({
    file: name,
    how: "link to",
    what: target,
    paths: [target.slice(1)],
    confidence: "likely",
  }));
  for (const file of app.files) {
    signal?.throwIfAborted();
    needs.push(...(await needsOf(app, file, versions)));
  }
  return needs;
}

/** @param cache keeps the distribution's lists. @throws Error */
export async function packagesFor(
  needs: readonly Need[],
  { cache, release, signal }: { cache: string; release: string; signal?: AbortSignal },
): Promise<Found> {
  const contents = await new Packages(cache, release, signal).contents();
  try {
    return await findPackages(contents, needs);
  } finally {
    await contents.close();
  }
}
