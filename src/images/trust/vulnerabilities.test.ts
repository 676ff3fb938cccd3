/** Vulnerabilities of packages, by both kinds of files. */
import { describe, expect, it } from "vitest";
import { type InstalledPackage, vulnerabilities } from "./vulnerabilities.ts";

const installed = (name: string, version: string, source = name, of = version): InstalledPackage => ({
  name,
  version,
  source: { name: source, version: of },
});
const PACKAGES = [
  installed("libssl3", "3.0.14-1~deb12u2", "openssl"),
  installed("openssl", "3.0.14-1~deb12u2"),
  installed("zlib1g", "1:1.2.13.dfsg-1", "zlib"),
  // Built again without a change of the source.
  installed("libselinux1", "3.4-1+b6", "libselinux", "3.4-1"),
];
const brief = (content: unknown) => {
  const { found } = vulnerabilities(
    typeof content === "string" ? content : JSON.stringify(content),
    "bookworm",
    PACKAGES,
  );
  return found.map(({ id, package: name, fixed = "-" }) => `${id} ${name} ${fixed}`);
};

describe("Debian's security tracker", () => {
  const of = (here: unknown, description = "d") => ({
    description,
    releases: { bookworm: here, sid: { status: "open" } },
  });
  const tracker = {
    openssl: {
      "CVE-2024-1000": of({
        status: "resolved",
        fixed_version: "3.0.15-1~deb12u1",
        urgency: "not yet assigned",
      }),
      "CVE-2024-999": of({ status: "resolved", fixed_version: "3.0.15-1~deb12u1" }),
      "CVE-2023-1": of({ status: "resolved", fixed_version: "3.0.14-1~deb12u2" }),
      "CVE-2023-2": of({ status: "resolved", fixed_version: "0" }),
    },
    zlib: {
      "CVE-2023-45853": of({ status: "open", urgency: "unimportant" }),
      "CVE-2024-2": of({ status: "open", urgency: "low" }),
      "CVE-2024-3": of({ status: "undetermined" }),
      "CVE-2024-4": { releases: { sid: { status: "open" } } },
    },
    libselinux: { "CVE-2024-5": of({ status: "resolved", fixed_version: "3.4-1" }) },
    bash: { "CVE-2024-6": of({ status: "open" }) },
  };
  it("names those whose source is older than the mended one, and those that are open", () => {
    expect(brief(tracker)).toEqual([
      "CVE-2024-999 libssl3 3.0.15-1~deb12u1",
      "CVE-2024-1000 libssl3 3.0.15-1~deb12u1",
      "CVE-2024-999 openssl 3.0.15-1~deb12u1",
      "CVE-2024-1000 openssl 3.0.15-1~deb12u1",
      "CVE-2024-2 zlib1g -",
    ]);
    expect(vulnerabilities(JSON.stringify(tracker), "bookworm", PACKAGES)).toMatchObject({
      kind: "tracker",
      unimportant: 1,
      checked: 8,
    });
  });
});

describe("OSV", () => {
  const record = (id: string, name: string, events: unknown[], more = {}) => ({
    id,
    affected: [{ package: { ecosystem: "Debian:12", name }, ranges: [{ type: "ECOSYSTEM", events }] }],
    ...more,
  });
  const records = [
    record("DEBIAN-CVE-2024-1", "openssl", [{ introduced: "0" }, { fixed: "3.0.15-1~deb12u1" }]),
    record("DSA-1-1", "zlib", [{ introduced: "0" }, { fixed: "1:1.2.13.dfsg-1" }], {
      upstream: ["CVE-2024-2"],
    }),
    record("DSA-2-1", "zlib", [{ introduced: "0" }], { upstream: ["CVE-2024-3"] }),
    record("CVE-2024-4", "libselinux", [{ introduced: "3.5" }, { fixed: "3.6" }]),
    record("CVE-2024-5", "libselinux", [{ introduced: "0" }, { last_affected: "3.4-1" }]),
    record("CVE-2024-6", "zlib", [{ introduced: "0" }], { withdrawn: "2024-01-01T00:00:00Z" }),
    {
      id: "CVE-2024-7",
      affected: [
        {
          package: { ecosystem: "Debian:13", name: "zlib" },
          ranges: [{ type: "ECOSYSTEM", events: [{ introduced: "0" }] }],
        },
      ],
    },
    {
      id: "CVE-2024-8",
      affected: [{ package: { ecosystem: "Debian:12", name: "zlib" }, versions: ["1:1.2.13.dfsg-1"] }],
    },
  ];
  const expected = [
    "CVE-2024-5 libselinux1 -",
    "CVE-2024-1 libssl3 3.0.15-1~deb12u1",
    "CVE-2024-1 openssl 3.0.15-1~deb12u1",
    "CVE-2024-3 zlib1g -",
    "CVE-2024-8 zlib1g -",
  ];
  it("names those in whose ranges, or among whose versions, the source is", () => {
    expect(brief(records)).toEqual(expected);
    expect(brief({ vulns: records })).toEqual(expected);
    expect(brief(records.map((each) => JSON.stringify(each)).join("\n"))).toEqual(expected);
    expect(brief(records[0])).toEqual(expected.slice(1, 3));
  });
});

it("what is neither is refused", () => {
  for (const content of ["{}", "null", '{"a": {"b": 1}}', "[1]"])
    expect(() => brief(content), content).toThrow(
      "is neither Debian's security tracker's data nor OSV records",
    );
  expect(() => brief("no json")).toThrow("is no JSON");
  expect(brief("[]")).toEqual([]);
});
