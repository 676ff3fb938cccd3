/** What apt-get update says. The real one: lists.real.test.ts. */
import { describe, expect, it } from "vitest";
import { onlyOthersFailed } from "./sources.ts";

const failed = (...urls: string[]) =>
  [
    "apt-get: W: Target Packages is configured twice",
    ...urls.map((url) => `E: Failed to fetch ${url}  Could not resolve 'x'`),
    "E: Some index files failed to download. They have been ignored, or old ones used instead.",
  ].join("\n");
const NODE = "https://deb.nodesource.com/node_20.x/dists/nodistro/InRelease";

describe("a source that is out of reach", () => {
  it.each([
    [true, failed(NODE)],
    [true, failed(NODE, "http://a/cuda/InRelease")],
    [false, failed(NODE, "http://deb.debian.org/debian/dists/bookworm/InRelease")],
    [false, failed("http://deb.debian.org/debian-security/dists/bookworm-security/InRelease")],
    [false, failed("http://deb.debian.org/debian/dists/oldstable/main/binary-amd64/Packages.xz")],
    [false, `${failed(NODE)}\nE: The repository 'http://x bookworm Release' is not signed.`],
    [false, "apt-get: did not end within 120 s"],
    [false, "flock: ended with code 1"],
  ])("is of others: %s", (others, said) => {
    expect(onlyOthersFailed(said, "bookworm")).toBe(others);
  });
});
