/**
 * From an application to the packages that it needs: its files are read, its run is watched, and what it needs is looked up in the distribution. Files of a run that no
 * package has are the application's own: they are read as well.
 */

import { posix } from "node:path";
import type { Contents } from "../packages/contents.ts";
import { type AppFile, type Application, applicationOf, readApplication } from "./application.ts";
import { readNeeds } from "./application-needs.ts";
import { type Found, findPackages } from "./distribution.ts";
import type { Need } from "./needs.ts";
import { type OwnLink, placeOf } from "./own-files.ts";
import { type Trace, touchedBy, traceNeeds } from "./trace.ts";

export interface Subject {
  /** A file or a folder. */
  path?: string;
  /** It was in an archive: where it lies now says nothing. */
  isUnpacked?: boolean;
  /** Runs of it, by what they are called in the evidence. */
  traces: readonly { name: string; trace: Trace }[];
}

export interface Analyzed extends Found {
  /** Files that runs opened and no package has, nor the path. */
  own: string[];
  /** Where the path's files are in the image, when they are in the recipe. */
  place?: string;
  /** Files of packages that runs have used, even if they only looked at them: absolute paths, as packages have them. */
  traced: string[];
  /** Folders that runs have made files in. */
  folders: string[];
  /** All files of the application, with where they are in the image. */
  files: { file: AppFile; at: string }[];
  /** Its links, with where they are in the image; those to files of its own are among the files, too, as what they lead to. */
  links: OwnLink[];
}

/** @throws Error of the file system, or for a release that is not known */
export async function analyzeApplication(
  { path, isUnpacked = false, traces }: Subject,
  contents: Contents,
  release: string,
  signal?: AbortSignal,
): Promise<Analyzed> {
  const needs: Need[] = [];
  const files: Analyzed["files"] = [];
  const links: OwnLink[] = [];
  const linksOf = ({ written, copies }: Application, place: string) =>
    written.map(({ name, target }) => ({
      at: posix.join(place, name),
      target,
      isOwn: copies.some((copy) => copy.name === name),
    }));
  let place: string | undefined;
  if (path !== undefined) {
    const installed = await packagedPath(path, contents);
    if (installed) needs.push(installed);
    const app = await readApplication(path);
    needs.push(...(await readNeeds(app, release, signal)));
    const all = [...app.files, ...app.copies];
    const at = placeOf(
      path,
      all.map(({ name }) => name),
      isUnpacked,
    );
    const isFile = all.length === 1 && all[0]?.path === path;
    // What packages have is theirs.
    if (!installed) place = at;
    if (!installed && !isFile) links.push(...linksOf(app, at));
    if (!installed) files.push(...all.map((file) => ({ file, at: isFile ? at : posix.join(at, file.name) })));
  }
  const runs = traces.flatMap(({ name, trace }) => traceNeeds(trace, name));
  const { missing } = await findPackages(contents, runs);
  const others = [...new Set(missing.map(({ what }) => what))].filter(
    (file) => path === undefined || !`${file}/`.startsWith(`${path}/`),
  );
  const app = await applicationOf(others, "/");
  needs.push(...(await readNeeds(app, release, signal)));
  const own = app.files.map((file) => file.path);
  files.push(...app.files.map((file) => ({ file, at: file.path })));
  links.push(...linksOf(app, "/"));
  const found = await findPackages(contents, [...runs.filter((need) => !missing.includes(need)), ...needs]);
  const folders = [...new Set(traces.flatMap(({ trace }) => [...trace.folders]))].sort();
  const traced = await packagedFiles(contents, traces);
  return { ...found, own, files, links, traced, folders, ...(place === undefined ? {} : { place }) };
}

async function packagedFiles(contents: Contents, traces: Subject["traces"]): Promise<string[]> {
  const touched = new Set(traces.flatMap(({ trace }) => touchedBy(trace)));
  const paths = new Set<string>();
  for (const path of touched) if (await contents.packagesOf(path)) paths.add(path);
  return [...paths].sort();
}

/** A program that lies where a package has it is that package's. */
async function packagedPath(path: string, contents: Contents): Promise<Need | undefined> {
  if (!/^\/(?:usr\/(?!local\/)|s?bin\/|lib)/.test(path) || !(await contents.packagesOf(path)))
    return undefined;
  return { file: path, how: "is", what: "a file of it", paths: [path.slice(1)], confidence: "certain" };
}
