/**
 * What lies beside an image for those who have to trust it: lists of its packages (SPDX, CycloneDX) and its provenance, an in-toto statement of SLSA's provenance
 * (https://slsa.dev/spec/v1.0/provenance), and its signature. Nothing in them is of the moment of the build: the same image has the same ones.
 */
import { stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import type { Artifact } from "../formats/formats.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import { contentsOf, purl, sbom } from "./sbom.ts";
import type { Signer } from "./signature.ts";

export interface Built {
  name: string;
  recipe: Recipe;
  /** Of the image's disk. */
  sha256: string;
  packages: readonly LockedPackage[];
  /** How old the newest of its files is, in seconds since 1970. */
  epoch: number;
  builderVersion: number;
  /** Those of its root file system, as file-list.ts has them. */
  fileList: string;
  /** All other files of the image, by their names in the pool. */
  files: readonly { file: string; sha256: string }[];
}

/** Of the recipe without its lock, which the dependencies say, and its mirror: as in the build's digest, whichever had the packages. */
export function provenance({ recipe, packages, builderVersion, files }: Omit<Built, "fileList">): unknown {
  const { lock: _, mirror: __, ...asked } = recipe;
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: files.map(({ file, sha256 }) => ({ name: file, digest: { sha256 } })),
    predicateType: "https://slsa.dev/provenance/v1",
    predicate: {
      buildDefinition: {
        buildType: "https://vireo.dev/image-build/v1",
        externalParameters: { recipe: asked },
        resolvedDependencies: packages.map((each) => ({
          uri: purl(recipe, each),
          digest: { sha256: each.sha256 },
        })),
      },
      runDetails: {
        builder: { id: "https://vireo.dev/image-builder", version: { builder: `${builderVersion}` } },
      },
    },
  };
}

/** @param place the file's path, by its ending */
export async function writeBeside(
  built: Built,
  place: (ending: string) => string,
  signer?: Signer,
): Promise<Artifact[]> {
  const contents = contentsOf(built);
  const { fileList } = built;
  const artifacts: Artifact[] = [];
  const write = async (format: Artifact["format"], ending: string, text: string) => {
    const path = place(ending);
    await writeFile(path, text);
    const [{ size: bytes }, sha256] = await Promise.all([stat(path), sha256Of(path)]);
    artifacts.push({ format, file: basename(path), bytes, sha256 });
  };
  const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;
  await write("spdx", "spdx.json", json(sbom("spdx", contents)));
  await write("cyclonedx", "cdx.json", json(sbom("cyclonedx", contents)));
  await write("files", "mtree", fileList);
  const statement = json(provenance({ ...built, files: [...built.files, ...artifacts] }));
  await write("provenance", "provenance.json", statement);
  // The usual name of such envelopes: https://github.com/in-toto/attestation/blob/main/spec/v1/bundle.md
  if (signer) await write("signature", "intoto.jsonl", signer.envelope(statement));
  return artifacts;
}
