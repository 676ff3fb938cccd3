/** The appliance of what an analysis has found: built as users build it, and started until the application says on the serial line that it works. */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Analyzed } from "../src/images/analyze/analyze.ts";
import { forRecipe } from "../src/images/analyze/distribution.ts";
import { archiveOf, recipeFolders, serviceCommand } from "../src/images/analyze/own-files.ts";
import { archiveFile, archivesFolder, makeFolder } from "../src/images/archives/store.ts";
import { buildImage } from "../src/images/build/builder.ts";
import type { Recipe } from "../src/images/recipe.ts";
import { bootUntil } from "../src/images/testing/boot.ts";
import { applianceRun, type TakenApplication } from "./applications.ts";

const BOOT_MS = 300_000;
const SHOWN = 1000;

export interface Started {
  /** From the start of QEMU until it said so; undefined: it did not. */
  bootSeconds?: number;
  buildSeconds: number;
  allocatedMiB: number;
  /** How many files were left out, of minimized ones. */
  leftOut: number;
  /** On the serial line, at the end. */
  said: string;
}

/** @param folder for the image, which goes afterwards @param cache of builds @param minimize by the run, too */
export async function startAppliance(
  application: TakenApplication,
  { findings, files, links, folders, traced }: Analyzed,
  { folder, cache, minimize }: { folder: string; cache: string; minimize: boolean },
): Promise<Started> {
  const { probe, says } = application;
  const command = applianceRun(application);
  const images = join(folder, "images");
  const archives = archivesFolder(images);
  await makeFolder(archives);
  const archive = await archiveOf(join(folder, "application.yaml"), files, links);
  await rename(join(folder, archive.file), archiveFile(archives, archive.sha256));
  const recipe: Recipe = {
    distribution: "debian",
    release: "bookworm",
    packages: forRecipe(findings).map((finding) => finding.package),
    directories: recipeFolders(folders).directories,
    archives: [archive],
    services: [
      { name: "application", command: serviceCommand(command) ?? command },
      ...(probe ? [{ name: "probe", command: `sh -c "sleep 1; ${probe.replace(/["\\$`]/g, "\\$&")}"` }] : []),
    ],
    guestAgent: false,
    ...(minimize ? { minimize, traced } : {}),
  };
  let leftOut = 0;
  const log = (line: string) => {
    leftOut += Number(/^left out\D*\((\d+)/.exec(line)?.[1] ?? 0);
  };
  try {
    const begin = performance.now();
    const built = await buildImage({
      name: "application",
      recipe,
      folder: images,
      cache,
      log,
      progress: () => {},
    });
    const buildSeconds = (performance.now() - begin) / 1000;
    const boot = { memoryMiB: 768, timeoutMs: BOOT_MS };
    const { said, seconds } = await bootUntil(images, built, says, boot);
    return {
      ...(seconds === undefined ? {} : { bootSeconds: seconds }),
      ...{ buildSeconds, leftOut, allocatedMiB: (built.allocatedBytes ?? 0) / 2 ** 20 },
      said: said.slice(-SHOWN),
    };
  } finally {
    await rm(images, { recursive: true, force: true });
  }
}
