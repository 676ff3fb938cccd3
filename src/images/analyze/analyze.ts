/**
 * From an application to the packages that it needs: its files are read, its run is watched, and what it needs is looked up in the distribution. Files of a run that no
 * package has are the application's own: they are read as well.
 */

import type { Contents } from "../packages/contents.ts";
import { applicationOf, readApplication } from "./application.ts";
import { readNeeds } from "./application-needs.ts";
import { type Found, findPackages } from "./distribution.ts";
import type { Need } from "./needs.ts";
import { type Trace, traceNeeds } from "./trace.ts";

export interface Subject {
  /** A file or a folder. */
  path?: string;
  /** Runs of it, by what they are called in the evidence. */
  traces: readonly { name: string; trace: Trace }[];
}

export interface Analyzed extends Found {
  /** Files that runs opened and no package has, nor the path. */
  own: string[];
}

/** @throws Error of the file system, or for a release that is not known */
export async function analyzeApplication(
  { path, traces }: Subject,
  contents: Contents,
  release: string,
  signal?: AbortSignal,
): Promise<Analyzed> {
  const needs: Need[] = [];
  if (path !== undefined) {
    const installed = await packagedPath(path, contents);
    if (installed) needs.push(installed);
    needs.push(...(await readNeeds(await readApplication(path), release, signal)));
  }
  const runs = traces.flatMap(({ name, trace }) => traceNeeds(trace, name));
  const { missing } = await findPackages(contents, runs);
  const others = [...new Set(missing.map(({ what }) => what))].filter(
    (file) => path === undefined || !`${file}/`.startsWith(`${path}/`),
  );
  const app = await applicationOf(others, "/");
  needs.push(...(await readNeeds(app, release, signal)));
  const own = app.files.map((file) => file.path);
  const found = await findPackages(contents, [...runs.filter((need) => !missing.includes(need)), ...needs]);
  return { ...found, own };
}

/** A program that lies where a package has it is that package's. */
async function packagedPath(path: string, contents: Contents): Promise<Need | undefined> {
  if (!/^\/(?:usr\/(?!local\/)|s?bin\/|lib)/.test(path) || !(await contents.packagesOf(path)))
    return undefined;
  return { file: path, how: "is", what: "a file of it", paths: [path.slice(1)], confidence: "certain" };
}
