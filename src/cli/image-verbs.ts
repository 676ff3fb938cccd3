/** Verbs on images: their arguments and options. */
import { type Command, Option } from "commander";
import { KERNELS, MODES, PROFILES } from "../images/releases/release.ts";
import { DISTRIBUTION_NAMES, distributionName } from "../images/releases/releases.ts";
import { BOOTS, DEFAULT_RELEASE, ROOTS } from "../images/shared.ts";
import { SBOM_FORMATS, type SbomFormat } from "../images/trust/sbom.ts";
import { addAnalyzeVerb } from "./image-analyze-verb.ts";
import type { BuildFlags } from "./image-build.ts";
import { addImageTrustVerbs } from "./image-trust-verbs.ts";
import { collect, duration, type PlaceOptions, wholeNumber, withControlPlane } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

/** Adds the verbs. */
export function addImageVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const image = program.command("image").description("bootable images");

  withControlPlane(image.command("build"))
    .description("build a small bootable image from a recipe, or of the given packages")
    .argument("<what>", "a recipe (YAML: RECIPE.yaml, or - for standard input), or the image's name")
    .option("--name <name>", "of the Image; by default the recipe's, or its file's")
    .option("-p, --package <package>", "package; may be given several times", collect, [])
    .addOption(
      new Option(
        "--distribution <name>",
        `what it is built of; ${distributionName(DEFAULT_RELEASE)} by default`,
      ).choices(DISTRIBUTION_NAMES),
    )
    .option(
      "--service <name=command>",
      "what its init keeps running; may be given several times. With --mode full a name alone enables a package's unit",
      collect,
      [],
    )
    .option("--directory <path>", "a folder to make; may be given several times", collect, [])
    .addOption(
      new Option(
        "--mode <mode>",
        "packages unpacked, busybox as init; or installed by their package manager, systemd as init",
      ).choices(MODES),
    )
    .addOption(
      new Option(
        "--kernel <kernel>",
        "the distribution's kernel for virtual machines, or for all hardware",
      ).choices(KERNELS),
    )
    .addOption(
      new Option("--boot <how>", "with the kernel itself, or by a boot loader for this firmware").choices(
        BOOTS,
      ),
    )
    .addOption(
      new Option(
        "--root <where>",
        "on the disk, written to (ext4) or only read (squashfs, erofs), or all in memory (ram)",
      ).choices(ROOTS),
    )
    .option("--minimize", "leave out programs and libraries that nothing needs")
    .option("--no-guest-agent", "without QEMU's guest agent")
    .option("--detach", "do not wait for its end", false)
    .addOption(duration("--timeout <time>", "how long to wait for its end", "10m"))
    .action(
      async (what: string, options: BuildFlags & PlaceOptions & { timeout: number; detach: boolean }) => {
        const { buildImage } = await import("./image-build.ts");
        const { timeout, detach, kubeconfig: _, ...flags } = options;
        await buildImage(
          placeOf(options),
          { what, flags, detach, timeoutMs: timeout, signal: stopSignal() },
          print,
        );
      },
    );

  addAnalyzeVerb(image, print);
  addImageTrustVerbs(image, placeOf, print);

  withControlPlane(image.command("import"))
    .description(
      "make an image of a disk from elsewhere: qcow2, raw, VMDK, OVA, VHD, VHDX, VDI, Parallels, ISO; also compressed",
    )
    .argument("<name>", "of the Image")
    .argument("<from>", "a file here, or a URL that the control plane fetches")
    .option("--sha256 <digest>", "what the file must be; needed with a URL")
    .option("--pool <pool>", "the StoragePool that will hold the image")
    .option("--detach", "do not wait for its end", false)
    .addOption(duration("--timeout <time>", "how long to wait for its end", "1h"))
    .action(
      async (
        name: string,
        from: string,
        options: PlaceOptions & { sha256?: string; pool?: string; detach: boolean; timeout: number },
      ) => {
        const { importImage } = await import("./image-import.ts");
        const { sha256, pool, detach, timeout } = options;
        const given = { ...(sha256 ? { sha256 } : {}), ...(pool ? { storagePool: pool } : {}) };
        await importImage(
          placeOf(options),
          { name, from, ...given, detach, timeoutMs: timeout, signal: stopSignal() },
          print,
        );
      },
    );

  withControlPlane(image.command("verify"))
    .description(
      "check the signature, build the image again elsewhere, of its packages alone, and compare each of its files",
    )
    .argument("<name>", "name of the Image")
    .addOption(duration("--timeout <time>", "how long to wait for its end", "10m"))
    .action(async (name: string, options: PlaceOptions & { timeout: number }) => {
      const { verifyImage } = await import("./image-build.ts");
      await verifyImage(placeOf(options), name, { timeoutMs: options.timeout, signal: stopSignal() }, print);
    });

  withControlPlane(image.command("export"))
    .description("copy a file of an image to this machine, and check its sha256")
    .argument("<name>", "name of the Image")
    .option("--format <format>", "one of status.artifacts (ova, vhdx, spdx, …); by default its disk, qcow2")
    .option("-o, --output <file>", "where to; by default its name in the pool, here")
    .action(async (name: string, options: PlaceOptions & { format?: string; output?: string }) => {
      const { exportImage } = await import("./image.ts");
      await exportImage(placeOf(options), name, { ...options, signal: stopSignal() }, print);
    });

  withControlPlane(image.command("push"))
    .description("bring an image to another installation: what is there already, by its sha256, is not sent")
    .argument("<name>", "name of the Image")
    .requiredOption("--to <kubeconfig>", "of the other installation")
    .option("--pool <pool>", "the StoragePool there that will hold the image")
    .addOption(duration("--timeout <time>", "how long to wait for its end", "1h"))
    .action(async (name: string, options: PlaceOptions & { to: string; pool?: string; timeout: number }) => {
      const { pushImage } = await import("./image-push.ts");
      const { to, pool, timeout } = options;
      const given = { name, to, ...(pool ? { storagePool: pool } : {}), timeoutMs: timeout };
      await pushImage(placeOf(options), { ...given, signal: stopSignal() }, print);
    });

  withControlPlane(image.command("packages"))
    .description("find packages to build images of, or show what comes along with some")
    .argument("<words...>", "words of names and descriptions; with --closure, names of packages")
    .addOption(
      new Option("--distribution <name>", "of which")
        .choices(DISTRIBUTION_NAMES)
        .default(distributionName(DEFAULT_RELEASE)),
    )
    .option("--section <section>", "only of this section, such as httpd")
    .option("--limit <count>", "how many are shown", wholeNumber(1000), 20)
    .option("--closure", "show what is installed with these packages", false)
    .addOption(new Option("--mode <mode>", "of --closure: of a recipe's mode").choices(MODES).default("slim"))
    .addOption(
      new Option("--profile <profile>", "of --closure: of a recipe's profile")
        .choices(PROFILES)
        .default("minimal"),
    )
    .action(
      async (
        words: string[],
        options: PlaceOptions & {
          distribution: string;
          section?: string;
          limit: number;
          closure: boolean;
          mode: string;
          profile: string;
        },
      ) => {
        const { printClosure, printPackages } = await import("./image-packages.ts");
        if (options.closure) await printClosure(placeOf(options), words, options, print);
        else await printPackages(placeOf(options), words, options, print);
      },
    );

  withControlPlane(image.command("versions"))
    .description("list the versions of an image, and the channels that point to them")
    .argument("<name>", "name of the Image")
    .action(async (name: string, options: PlaceOptions) => {
      const { printVersions } = await import("./image-versions.ts");
      await printVersions(placeOf(options), name, print);
    });

  withControlPlane(image.command("promote"))
    .description("point a channel to a version; new machines of image: NAME:CHANNEL are made of it")
    .argument("<version>", "NAME:VERSION, or NAME:CHANNEL of another channel")
    .argument("<channel>", "such as stable")
    .action(async (version: string, channel: string, options: PlaceOptions) => {
      const { promote } = await import("./image-versions.ts");
      await promote(placeOf(options), version, channel, print);
    });

  withControlPlane(image.command("cancel"))
    .description("end a build, of which nothing is left but its log, or an import")
    .argument("<build>", "the ImageBuild, or the image that is being built or imported")
    .action(async (build: string, options: PlaceOptions) => {
      const place = placeOf(options);
      const { cancelImport } = await import("./image-import.ts");
      if (await cancelImport(place, build, print)) return;
      const { cancelBuild } = await import("./image-build.ts");
      await cancelBuild(place, build, print);
    });

  withControlPlane(image.command("log"))
    .description("what a build did")
    .argument("<build>", "the ImageBuild, or an image for its newest one")
    .option("-f, --follow", "until it is over", false)
    .action(async (build: string, options: PlaceOptions & { follow: boolean }) => {
      const { printLog } = await import("./image-build.ts");
      await printLog(placeOf(options), build, { ...options, signal: stopSignal() });
    });

  withControlPlane(image.command("lock"))
    .description(
      "print the image's manifest with the version and sha256 of each package: it builds the same image again",
    )
    .argument("<name>", "name of the Image")
    .action(async (name: string, options: PlaceOptions) => {
      const { printLock } = await import("./image.ts");
      await printLock(placeOf(options), name, print);
    });

  withControlPlane(image.command("sbom"))
    .description("print the list of the image's packages for scanners and auditors")
    .argument("<name>", "name of the Image")
    .addOption(
      new Option("--format <format>", "SPDX 2.3 or CycloneDX 1.5, both as JSON")
        .choices(SBOM_FORMATS)
        .default("spdx" satisfies SbomFormat),
    )
    .action(async (name: string, options: PlaceOptions & { format: SbomFormat }) => {
      const { printSbom } = await import("./image.ts");
      await printSbom(placeOf(options), name, options.format, print);
    });
}
