/**
 * What is in an image, as lists that scanners and auditors read: SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/) and CycloneDX 1.5
 * (https://cyclonedx.org/docs/1.5/json/). Of packages, not of files. Pure: the same image gives the same text.
 */
import { createHash } from "node:crypto";
import type { LockedPackage } from "../recipe.ts";
import { isRpm } from "../releases/release.ts";
import { BOOTS, releaseOf, type System } from "../releases/releases.ts";

/** What a list is made from; `created` in RFC 3339, `sha256` of the image's disk. */
export interface Contents {
  name: string;
  sha256: string;
  created: string;
  system: System;
  packages: readonly (Item & { sha256?: string })[];
}

type Item = Pick<LockedPackage, "name" | "version" | "arch">;

/** @param epoch how old the newest of its files is, in seconds since 1970 */
export const contentsOf = ({
  name,
  recipe,
  sha256,
  packages,
  epoch,
}: {
  name: string;
  recipe: System;
  sha256: string;
  packages: Contents["packages"];
  epoch: number;
}): Contents => ({
  name,
  sha256,
  created: new Date(epoch * 1000).toISOString(),
  system: recipe,
  packages,
});

export const SBOM_FORMATS = ["spdx", "cyclonedx"] as const;
export type SbomFormat = (typeof SBOM_FORMATS)[number];

export function sbom(format: SbomFormat, contents: Contents): unknown {
  return format === "spdx" ? spdx(contents) : cycloneDx(contents);
}

/** https://github.com/package-url/purl-spec; "+" stands for a space in it, unless it is encoded. */
export function purl(system: System, { name, version, arch }: Item): string {
  const encoded = (text: string) => encodeURIComponent(text).replaceAll("%3A", ":");
  if (arch !== undefined) {
    const { distribution, release } = system;
    const { namespace } = releaseOf(system);
    const [, epoch, rest = version] = /^(\d+):(.*)$/.exec(version) ?? [];
    const qualifiers = [
      `arch=${arch}`,
      `distro=${distribution}-${release}`,
      ...(epoch ? [`epoch=${epoch}`] : []),
    ];
    return `pkg:rpm/${namespace}/${encoded(name)}@${encoded(rest)}?${qualifiers.join("&")}`;
  }
  const from = ownerOf(system, { arch });
  return `pkg:deb/${releaseOf(from).namespace}/${encoded(name)}@${encoded(version)}?distro=${from.release}`;
}

/** Where a package is from: what boots an image of RPMs is none of its own distribution's. */
const ownerOf = (system: System, { arch }: Pick<Item, "arch">): System =>
  arch === undefined && isRpm(releaseOf(system)) ? BOOTS : system;

function spdx({ name, sha256, created, system, packages }: Contents) {
  const unknown = {
    licenseConcluded: "NOASSERTION",
    licenseDeclared: "NOASSERTION",
    copyrightText: "NOASSERTION",
  };
  const checksums = (checksumValue: string) => [{ algorithm: "SHA256", checksumValue }];
  // Identifiers may have letters, digits, "." and "-" only; the number keeps libstdc++ and libstdc-- apart.
  const idOf = (i: number, name: string) => `SPDXRef-Package-${i}-${name.replace(/[^A-Za-z0-9.-]/g, "-")}`;
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `image-${name}`,
    documentNamespace: `https://vireo.dev/spdx/${name}-${sha256}`,
    creationInfo: { created: created.replace(/\.\d+Z$/, "Z"), creators: ["Tool: vireo"] },
    packages: [
      {
        SPDXID: "SPDXRef-Image",
        name,
        versionInfo: sha256,
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        checksums: checksums(sha256),
        ...unknown,
      },
      ...packages.map((item, i) => ({
        SPDXID: idOf(i, item.name),
        name: item.name,
        versionInfo: item.version,
        supplier: `Organization: ${releaseOf(ownerOf(system, item)).supplier}`,
        downloadLocation: "NOASSERTION",
        filesAnalyzed: false,
        ...(item.sha256 ? { checksums: checksums(item.sha256) } : {}),
        externalRefs: [
          {
            referenceCategory: "PACKAGE-MANAGER",
            referenceType: "purl",
            referenceLocator: purl(system, item),
          },
        ],
        ...unknown,
      })),
    ],
    relationships: [
      {
        spdxElementId: "SPDXRef-DOCUMENT",
        relationshipType: "DESCRIBES",
        relatedSpdxElement: "SPDXRef-Image",
      },
      ...packages.map((item, i) => ({
        spdxElementId: "SPDXRef-Image",
        relationshipType: "CONTAINS",
        relatedSpdxElement: idOf(i, item.name),
      })),
    ],
  };
}

function cycloneDx({ name, sha256, created, system, packages }: Contents) {
  const hashes = (content: string) => [{ alg: "SHA-256", content }];
  // Of this content and no other: version 5's form, though SHA-256 made it.
  const uuid = createHash("sha256")
    .update(JSON.stringify([name, sha256, created]))
    .digest("hex")
    .replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-5$3-8$4-$5");
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuid}`,
    version: 1,
    metadata: {
      timestamp: created,
      tools: { components: [{ type: "application", name: "vireo" }] },
      component: {
        type: "operating-system",
        "bom-ref": "image",
        name,
        version: sha256,
        hashes: hashes(sha256),
      },
    },
    components: packages.map((item) => ({
      type: "library",
      "bom-ref": purl(system, item),
      name: item.name,
      version: item.version,
      purl: purl(system, item),
      ...(item.sha256 ? { hashes: hashes(item.sha256) } : {}),
    })),
  };
}
