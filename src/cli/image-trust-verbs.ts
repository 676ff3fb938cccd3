/** Verbs on what an image can be trusted for: their arguments and options. */
import type { Command } from "commander";
import { type PlaceOptions, withControlPlane } from "./place.ts";
import type { Place } from "./resources.ts";

/** Adds the verbs. */
export function addImageTrustVerbs(
  image: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  withControlPlane(image.command("key"))
    .description("print the public key that an image's signature is checked with")
    .argument("<name>", "name of the Image")
    .action(async (name: string, options: PlaceOptions) => {
      const { printKey } = await import("./image-signature.ts");
      await printKey(placeOf(options), name, print);
    });

  withControlPlane(image.command("vulnerabilities"))
    .description("list the known vulnerabilities of an image's packages")
    .argument("<name>", "name of the Image")
    .requiredOption(
      "--from <file>",
      "Debian's security tracker data (https://security-tracker.debian.org/tracker/data/json) or OSV records; JSON, also gzip",
    )
    .option("--fail", "end with 1 when newer packages mend one", false)
    .action(async (name: string, options: PlaceOptions & { from: string; fail: boolean }) => {
      const { printVulnerabilities } = await import("./image-vulnerabilities.ts");
      await printVulnerabilities(placeOf(options), name, options, print);
    });

  withControlPlane(image.command("diff"))
    .description("what is other in one image than in another: packages, files, sizes")
    .argument("<before>", "an Image, or an ImageBuild")
    .argument("<after>", "an Image, or an ImageBuild")
    .option("--files", "name each file", false)
    .action(async (before: string, after: string, options: PlaceOptions & { files: boolean }) => {
      const { diff } = await import("./image-diff.ts");
      await diff(placeOf(options), [before, after], options, print);
    });

  image
    .command("check")
    .description("whether files are those of a signature; needs no installation")
    .argument("<file...>", "files of an image, by any names")
    .requiredOption("--signature <file>", "of vireo image export --format signature")
    .requiredOption("--key <file>", "of vireo image key")
    .action(async (files: string[], options: { signature: string; key: string }) => {
      const { checkFiles } = await import("./image-signature.ts");
      await checkFiles(files, options, print);
    });
}
