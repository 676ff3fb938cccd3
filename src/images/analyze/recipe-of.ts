/** What was found, as a recipe that `vireo image build` takes. Pure. */
import { Document, isScalar, isSeq } from "yaml";
import type { Recipe } from "../recipe.ts";
import { type Evidence, type Finding, forRecipe } from "./distribution.ts";

export interface Analysis {
  /** In words: the command that was given. */
  asked: string;
  release: string;
  findings: readonly Finding[];
  /** What the image is to run. */
  services: NonNullable<Recipe["services"]>;
  /** The application's own. */
  files: NonNullable<Recipe["files"]>;
  /** Those that a run has written to. */
  directories: readonly string[];
  /** Files of packages that a run has used, when no others are wanted. */
  traced: readonly string[] | undefined;
  /** What of it is in an archive beside the recipe. */
  archives: NonNullable<Recipe["archives"]>;
}

/** "bin/app: linked libz.so.1". */
export const told = ({ file, how, what }: Evidence) => `${file}: ${how} ${what}`;

/** The recipe with the reason beside each package; what may be needed stands in it as comments. @returns YAML */
export function recipeText({
  asked,
  release,
  findings,
  services,
  files,
  archives,
  ...more
}: Analysis): string {
  const chosen = forRecipe(findings);
  const recipe = {
    distribution: "debian",
    release,
    packages: chosen.map((finding) => finding.package),
    ...(services.length > 0 ? { services } : {}),
    ...(more.directories.length > 0 ? { directories: more.directories } : {}),
    ...(files.length > 0 ? { files } : {}),
    ...(archives.length > 0 ? { archives } : {}),
    ...(more.traced ? { minimize: true, traced: more.traced } : {}),
  };
  const document = new Document(recipe);
  document.commentBefore = ` Made by ${asked}.`;
  const list = document.get("packages");
  if (isSeq(list))
    for (const [i, item] of list.items.entries()) {
      const [evidence] = chosen[i]?.evidence ?? [];
      if (isScalar(item) && evidence) item.comment = ` ${told(evidence)}`;
    }
  const possible = findings.filter(({ confidence }) => confidence === "possible");
  if (possible.length > 0)
    document.comment = ` Perhaps needed, too:\n${possible
      .map((finding) => `   ${finding.package}  # ${finding.evidence.slice(0, 1).map(told).join("")}`)
      .join("\n")}`;
  return `${document.toString({ lineWidth: 0 }).trimEnd()}\n`;
}
