import { afterEach, beforeEach, expect, it } from "vitest";
import { openControlPlane } from "../compute/testing/control-plane.ts";
import { ImageBuild } from "./kinds.ts";
import { createBuild } from "./reconciler.ts";
import { buildName } from "./shared.ts";

const RECIPE = { distribution: "debian", release: "bookworm", packages: ["busybox-static"] } as const;

let plane: Awaited<ReturnType<typeof openControlPlane>>;
beforeEach(async () => {
  plane = await openControlPlane();
});
afterEach(() => plane.close());

it("of a long name its beginning, and never more than a name may have", () => {
  expect(buildName("web", 3)).toBe("web-3");
  expect(buildName("a".repeat(63), 12)).toBe(`${"a".repeat(60)}-12`);
  expect(buildName(`${"a".repeat(60)}-bc`, 1)).toBe(`${"a".repeat(60)}-1`);
});

it("a name that a build of another image has is passed over", async () => {
  const recipe = { ...RECIPE, packages: [...RECIPE.packages] };
  await plane.client.create(ImageBuild, { metadata: { name: "web-1" }, spec: { image: "shop", recipe } });
  expect((await createBuild(plane.client, "web", { recipe })).metadata.name).toBe("web-2");
  expect((await createBuild(plane.client, "web", { recipe })).metadata.name).toBe("web-3");
});

it("a name with a day and a time, as earlier versions of the page gave it, does not spoil the numbers", async () => {
  const recipe = { ...RECIPE, packages: [...RECIPE.packages] };
  const metadata = { name: "web-20261130-150720" };
  await plane.client.create(ImageBuild, { metadata, spec: { image: "web", recipe } });
  expect((await createBuild(plane.client, "web", { recipe })).metadata.name).toBe("web-1");
});
