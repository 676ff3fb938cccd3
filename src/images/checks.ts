/** Rules of images that the schema cannot say. Pure. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Image } from "./kinds.ts";

export function checkImage(image: Image, _old: Image | undefined, _lookup: Lookup): Cause[] {
  return (image.spec.recipe?.files ?? []).flatMap(({ path }, i) =>
    path.split("/").includes("..") || path.endsWith("/")
      ? [
          {
            field: `spec.recipe.files[${i}].path`,
            reason: "FieldValueInvalid" as const,
            message: `Invalid value: ${JSON.stringify(path)}: must be an absolute path of a file without ".."`,
          },
        ]
      : [],
  );
}
