/** What lies inside an image for scanners: lists of its packages, SPDX and CycloneDX. Pure. */
import type { LockedPackage, Recipe } from "../recipe.ts";
import { contentsOf, sbom } from "./sbom.ts";

/** The disk's own digest cannot be inside; `digest`, of what it is made of, can. @param epoch of its files, in seconds since 1970. @returns files of the image */
export function listsInside({
  recipe,
  packages,
  digest,
  epoch,
}: {
  recipe: Recipe;
  packages: readonly LockedPackage[];
  digest: string;
  epoch: number;
}): { path: string; content: string }[] {
  const contents = contentsOf({ name: "image", recipe, sha256: digest, packages, epoch });
  return (
    [
      ["spdx", "spdx.json"],
      ["cyclonedx", "cdx.json"],
    ] as const
  ).map(([format, ending]) => ({
    path: `/usr/share/sbom/image.${ending}`,
    content: `${JSON.stringify(sbom(format, contents))}\n`,
  }));
}
