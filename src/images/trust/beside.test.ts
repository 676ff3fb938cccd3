/** What lies beside an image is the same whenever the image is: verify compares it. */
import { expect, it } from "vitest";
import type { Recipe } from "../recipe.ts";
import { provenance } from "./beside.ts";

it("provenance says nothing of where the packages were had from: neither lock nor mirror", () => {
  const packages = [{ name: "nginx", version: "1.22.1-9", sha256: "a".repeat(64) }];
  const of = (more: Partial<Recipe>) => {
    const recipe: Recipe = { distribution: "debian", release: "bookworm", packages: ["nginx"], ...more };
    return provenance({
      name: "web",
      sha256: "b".repeat(64),
      epoch: 0,
      builderVersion: 1,
      recipe,
      packages,
      files: [],
    });
  };
  expect(of({ mirror: { uri: "http://mirror.example/debian" }, lock: packages })).toEqual(of({}));
  expect(of({ packages: ["nginx", "curl"] })).not.toEqual(of({}));
});
