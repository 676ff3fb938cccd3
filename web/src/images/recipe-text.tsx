/** The recipe as YAML: what is built, and what vireo apply takes. */
import { stringify } from "yaml";
import { apiVersionOf } from "../data/kinds.ts";
import { type Draft, recipeOf } from "./draft.ts";

export default function RecipeText({ draft }: { draft: Draft }) {
  const object = {
    apiVersion: apiVersionOf("images"),
    kind: "Image",
    metadata: { name: draft.name },
    spec: { recipe: recipeOf(draft) },
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
    <pre className="yaml" tabIndex={0}>
      {stringify(object, { aliasDuplicateObjects: false })}
    </pre>
  );
}
