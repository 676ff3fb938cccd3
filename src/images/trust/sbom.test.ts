/** The lists of an image's packages, by what their formats ask for. */
import { expect, it } from "vitest";
import { purl, sbom } from "./sbom.ts";

const CONTENTS = {
  name: "web",
  sha256: "a".repeat(64),
  created: "2026-11-24T09:00:00.123Z",
  system: { distribution: "debian", release: "bookworm" } as const,
  packages: [
    { name: "libstdc++6", version: "12.2.0-14+deb12u1", sha256: "b".repeat(64) },
    { name: "redis-server", version: "5:7.0.15-1~deb12u5", sha256: "c".repeat(64) },
  ],
};
const PURLS = [
  "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?distro=bookworm",
  "pkg:deb/debian/redis-server@5:7.0.15-1~deb12u5?distro=bookworm",
];

it("as SPDX: each package with its purl and digest, contained in the image that the document describes", () => {
  const made = sbom("spdx", CONTENTS);
  expect(made).toMatchObject({
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    documentNamespace: `https://vireo.dev/spdx/web-${CONTENTS.sha256}`,
    creationInfo: { created: "2026-11-24T09:00:00Z" },
    packages: [
      { SPDXID: "SPDXRef-Image", checksums: [{ algorithm: "SHA256", checksumValue: CONTENTS.sha256 }] },
      {
        SPDXID: "SPDXRef-Package-0-libstdc--6",
        externalRefs: [{ referenceType: "purl", referenceLocator: PURLS[0] }],
      },
      { name: "redis-server", externalRefs: [{ referenceLocator: PURLS[1] }] },
    ],
    relationships: [
      { relationshipType: "DESCRIBES", relatedSpdxElement: "SPDXRef-Image" },
      { relationshipType: "CONTAINS", relatedSpdxElement: "SPDXRef-Package-0-libstdc--6" },
      { relationshipType: "CONTAINS", relatedSpdxElement: "SPDXRef-Package-1-redis-server" },
    ],
  });
});

it("as CycloneDX: a serial number of its own, each component by its purl", () => {
  const made = sbom("cyclonedx", CONTENTS);
  expect(made).toMatchObject({
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: expect.stringMatching(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
    ),
    components: [
      { purl: PURLS[0], hashes: [{ alg: "SHA-256", content: "b".repeat(64) }] },
      { purl: PURLS[1], version: "5:7.0.15-1~deb12u5" },
    ],
  });
  expect(sbom("cyclonedx", CONTENTS)).toEqual(made);
  expect(sbom("cyclonedx", { ...CONTENTS, sha256: "d".repeat(64) })).not.toMatchObject({
    serialNumber: Reflect.get(Object(made), "serialNumber"),
  });
});

it("packages of other distributions have the purls of their kind; what boots their images is Debian's", () => {
  const noble = { distribution: "ubuntu", release: "noble" } as const;
  expect(purl(noble, { name: "bash", version: "5.2" })).toBe("pkg:deb/ubuntu/bash@5.2?distro=noble");
  const stream = { distribution: "centos-stream", release: "10" } as const;
  expect(purl(stream, { name: "bind", version: "32:9.18-1.el10", arch: "x86_64" })).toBe(
    "pkg:rpm/centos/bind@9.18-1.el10?arch=x86_64&distro=centos-stream-10&epoch=32",
  );
  expect(purl(stream, { name: "busybox-static", version: "1" })).toBe(
    "pkg:deb/debian/busybox-static@1?distro=bookworm",
  );
});
