/** Appliances of what an analysis has found: built as users build them, and started until the application says on the serial line that it works. */
import { spawn } from "node:child_process";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Analyzed } from "../src/images/analyze/analyze.ts";
import { forRecipe } from "../src/images/analyze/distribution.ts";
import { archiveOf, recipeFolders, serviceCommand } from "../src/images/analyze/own-files.ts";
import { archiveFile, archivesFolder, makeFolder } from "../src/images/archives/store.ts";
import { buildImage } from "../src/images/build/builder.ts";
import type { Recipe } from "../src/images/recipe.ts";
import type { TakenApplication } from "./applications.ts";
import { until } from "./measure.ts";

const BOOT_MS = 120_000;
const SHOWN = 300;
const TERMINAL = new RegExp(`\\r|${String.fromCharCode(27)}\\[[\\d;]*[mK]`, "g");

export interface Started {
  /** From the start of QEMU until it said so; undefined: it did not. */
  bootSeconds?: number;
  buildSeconds: number;
  allocatedMiB: number;
  /** How many files were left out, of minimized ones. */
  leftOut: number;
  /** The end of the serial line of one that did not. */
  said: string;
}

/** @param folder for the image, which goes afterwards @param cache of builds @param minimize by the run, too */
export async function startAppliance(
  { run, probe, says }: TakenApplication,
  { findings, files, links, folders, traced }: Analyzed,
  { folder, cache, minimize }: { folder: string; cache: string; minimize: boolean },
): Promise<Started> {
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
      { name: "application", command: serviceCommand(run) ?? run },
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
    const at = (name = "") => join(images, name);
    const serial = join(folder, "serial.log");
    await rm(serial, { force: true });
    const from = performance.now();
    const qemu = spawn(
      "qemu-system-x86_64",
      [
        ..."-M q35 -accel tcg -m 768 -nic none -display none -nodefaults -no-reboot -snapshot".split(" "),
        ...[
          "-serial",
          `file:${serial}`,
          "-kernel",
          at(built.boot?.kernel),
          "-initrd",
          at(built.boot?.initrd),
        ],
        ...[
          "-drive",
          `file=${at(built.file)},if=virtio,format=qcow2`,
          "-append",
          built.boot?.commandLine ?? "",
        ],
      ],
      { stdio: "ignore" },
    );
    // As of a terminal: ends of lines, colours.
    const said = async () => (await readFile(serial, "utf8").catch(() => "")).replace(TERMINAL, "");
    const allocatedMiB = (built.allocatedBytes ?? 0) / 2 ** 20;
    try {
      await until("the application", async () => says.test(await said()) || undefined, {
        limitMs: BOOT_MS,
        everyMs: 100,
      });
      const bootSeconds = (performance.now() - from) / 1000;
      return { bootSeconds, buildSeconds, allocatedMiB, leftOut, said: "" };
    } catch {
      return { buildSeconds, allocatedMiB, leftOut, said: (await said()).slice(-SHOWN) };
    } finally {
      qemu.kill("SIGKILL");
    }
  } finally {
    await rm(images, { recursive: true, force: true });
  }
}
