/**
 * What lies beside an image for those who have to trust it: lists of its packages (SPDX, CycloneDX) and its provenance, an in-toto statement of SLSA's provenance
 * (https://slsa.dev/spec/v1.0/provenance). Nothing in them is of the moment of the build: the same image has the same ones.
 */
import { stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import type { Artifact } from "../formats/formats.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import { sha256Of } from "./digest.ts";
import { type Contents, purl, sbom } from "./sbom.ts";

export interface Built {
  name: string;
  recipe: Recipe;
  /** Of the image's disk. */
  sha256: string;
  packages: readonly LockedPackage[];
  /** How old the newest of its files is, in seconds since 1970. */
  epoch: number;
  builderVersion: number;
  /** All other files of the image, by their names in the pool. */
  files: readonly { file: string; sha256: string }[];
}

export const contentsOf = ({
  name,
  recipe,
  sha256,
  packages,
  epoch,
}: Omit<Built, "files" | "builderVersion">): Contents => ({
  name,
  sha256,
  created: new Date(epoch * 1000).toISOString(),
  release: recipe.release,
  packages,
});

/** Of the recipe without its lock, which the dependencies say. */
export function provenance({ recipe, packages, builderVersion, files }: Built): unknown {
  const { lock: _, ...asked } = recipe;
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: files.map(({ file, sha256 }) => ({ name: file, digest: { sha256 } })),
    predicateType: "https://slsa.dev/provenance/v1",
    predicate: {
      buildDefinition: {
        buildType: "https://vireo.dev/image-build/v1",
        externalParameters: { recipe: asked },
        resolvedDependencies: packages.map(({ name, version, sha256 }) => ({
          uri: purl(recipe.release, name, version),
          digest: { sha256 },
        })),
      },
      runDetails: {
        builder: { id: "https://vireo.dev/image-builder", version: { builder: `${builderVersion}` } },
      },
    },
  };
}

/** @param place the file's path, by its ending */
export async function writeBeside(built: Built, place: (ending: string) => string): Promise<Artifact[]> {
  const contents = contentsOf(built);
  const texts = [
    ["spdx", "spdx.json", sbom("spdx", contents)],
    ["cyclonedx", "cdx.json", sbom("cyclonedx", contents)],
    ["provenance", "provenance.json", provenance(built)],
  ] as const;
  const artifacts: Artifact[] = [];
  for (const [format, ending, value] of texts) {
    const path = place(ending);
    await writeFile(path, `${JSON.stringify(value, undefined, 2)}\n`);
    artifacts.push({
      format,
      file: basename(path),
      bytes: (await stat(path)).size,
      sha256: await sha256Of(path),
    });
  }
  return artifacts;
}
