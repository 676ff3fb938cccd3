/** What is said of images by whoever has to trust them: never of one recipe or version what is true of another. */
import { expect, it } from "vitest";
import type { Image, ImageBuild } from "../kinds.ts";
import { describeReport, lastCheck, lockOf, whyNotBuilt, whyNotCompared } from "./standing.ts";

const recipe: NonNullable<Image["spec"]["recipe"]> = {
  distribution: "debian",
  release: "bookworm",
  packages: ["nginx"],
};
const sha256 = "0".repeat(64);

const imageOf = (status: Image["status"], spec: Partial<Image["spec"]> = { recipe }): Image => ({
  apiVersion: "vireo.dev/v1",
  kind: "Image",
  metadata: { name: "web", generation: 2 },
  spec: { storagePool: "default", ...spec },
  status: { phase: "Ready", observedGeneration: 2, ...status },
});

it("nothing is said of an image that is not what its recipe makes", () => {
  expect(whyNotBuilt(imageOf({}))).toBeUndefined();
  expect(whyNotBuilt(imageOf({}, { file: "web.qcow2" }))).toMatch(/^is a file that was brought along/);
  expect(whyNotBuilt(imageOf({ phase: "Building", progress: "packages" }))).toBe(
    "is not built yet: Building: packages",
  );
  // Of the recipe before.
  expect(whyNotBuilt(imageOf({ observedGeneration: 1 }))).toMatch(/^was changed/);
});

it("a check of an earlier version is none of what the image is now", () => {
  const version = (number: number, createdTime: string) => ({
    version: number,
    file: `web-${number}.qcow2`,
    format: "qcow2" as const,
    createdTime,
  });
  const image = imageOf({
    version: 2,
    versions: [version(1, "2026-01-01T10:00:00.000Z"), version(2, "2026-01-02T10:00:00.700Z")],
  });
  const build = (name: string, creationTimestamp: string, verify = true): ImageBuild => ({
    apiVersion: "vireo.dev/v1",
    kind: "ImageBuild",
    metadata: { name, creationTimestamp },
    spec: { image: "web", storagePool: "default", recipe, verify },
  });
  const before = build("before", "2026-01-02T09:00:00Z");
  const building = build("building", "2026-01-03T10:00:00Z", false);
  expect(lastCheck(image, [building, before])).toBeUndefined();
  // In the second in which the version was made.
  const after = build("after", "2026-01-02T10:00:00Z");
  expect(lastCheck(image, [building, after, before])).toBe(after);
});

it("an image is checked by all digests of its packages, or not at all", () => {
  const nginx = { name: "nginx", version: "1", sha256, source: { name: "nginx", version: "1" } };
  expect(lockOf([nginx])).toEqual([{ name: "nginx", version: "1", sha256 }]);
  expect(lockOf([nginx, { name: "bash", version: "5" }])).toBeUndefined();
  expect(lockOf([])).toBeUndefined();
});

it("packages are compared with lists where their sources are known", () => {
  const lists = [{ format: "files" as const, file: "web.mtree", bytes: 1, sha256 }];
  expect(whyNotCompared(imageOf({ artifacts: lists }))).toBeUndefined();
  expect(whyNotCompared(imageOf({ artifacts: [] }))).toMatch(/^was built by an older Vireo/);
  const ubuntu = { recipe: { ...recipe, distribution: "ubuntu" as const, release: "noble" as const } };
  expect(whyNotCompared(imageOf({ artifacts: lists }, ubuntu))).toMatch(/^is of Ubuntu 24\.04/);
});

it("a list that is about none of its packages is no good news", () => {
  const of = { name: "web", release: "bookworm", packages: 3 };
  const one = { id: "CVE-1", package: "nginx", version: "1", summary: "" };
  const report = { kind: "tracker" as const, checked: 9, found: [], unimportant: 0 };
  expect(describeReport(report, of, "list")).toMatchObject({ tone: "ok", mended: 0 });
  expect(describeReport({ ...report, found: [one], unimportant: 2 }, of, "list")).toEqual({
    words:
      "1 known vulnerabilities in 1 of 3 packages; 2 unimportant ones are left out; 9 entries of list are about its packages",
    mended: 0,
    tone: "warn",
  });
  expect(describeReport({ ...report, found: [{ ...one, fixed: "2" }] }, of, "list").tone).toBe("bad");
  expect(describeReport({ ...report, checked: 0 }, of, "list")).toMatchObject({
    tone: "warn",
    nothing: expect.stringMatching(/^has nothing about the packages of web/),
  });
});
