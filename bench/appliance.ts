/** The nginx appliance of the examples, built for measurements. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { CACHE } from "../src/cli/paths.ts";
import { buildImage } from "../src/images/build/builder.ts";
import type { BuiltImage } from "../src/images/kinds.ts";
import type { Recipe } from "../src/images/recipe.ts";

/** Safe: the example is a recipe; the build would say what is wrong with it. */
export const EXAMPLE = {
  distribution: "debian",
  release: "bookworm",
  ...parse(readFileSync(join(import.meta.dirname, "../examples/appliance.yaml"), "utf8")),
} as Recipe;

/** @param at the folder that it is built in @param layers what is kept between builds */
export async function build(
  recipe: Recipe,
  at: string,
  layers: string,
): Promise<{ built: BuiltImage; seconds: number; at: string }> {
  const begin = performance.now();
  const built = await buildImage({
    name: "web",
    recipe,
    folder: at,
    cache: CACHE,
    layers,
    progress: () => {},
  });
  return { built, seconds: (performance.now() - begin) / 1000, at };
}
