/** Rules of images that the schema cannot say. Pure. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Image } from "./kinds.ts";

export function checkImage(image: Image, old: Image | undefined, _lookup: Lookup): Cause[] {
  const causes: Cause[] = [];
  const { recipe, file, storagePool } = image.spec;
  if (recipe && file !== undefined)
    causes.push({
      field: "spec.file",
      reason: "FieldValueForbidden",
      message: "Forbidden: an image has either a recipe or a file, not both",
    });
  if (!recipe && file === undefined)
    causes.push({
      field: "spec.recipe",
      reason: "FieldValueRequired",
      message: "Required value: an image has a recipe (it is built) or a file (it is in the pool already)",
    });
  const names = (recipe?.services ?? []).map((service) => service.name);
  for (const [i, name] of names.entries())
    if (names.indexOf(name) < i)
      causes.push({
        field: `spec.recipe.services[${i}].name`,
        reason: "FieldValueDuplicate",
        message: `Duplicate value: ${JSON.stringify(name)}`,
      });
  for (const [i, { path }] of (recipe?.files ?? []).entries())
    if (path.split("/").includes("..") || path.endsWith("/"))
      causes.push({
        field: `spec.recipe.files[${i}].path`,
        reason: "FieldValueInvalid",
        message: `Invalid value: ${JSON.stringify(path)}: must be an absolute path of a file without ".."`,
      });
  if (old && old.spec.storagePool !== storagePool)
    causes.push({
      field: "spec.storagePool",
      reason: "FieldValueForbidden",
      message: "Forbidden: cannot be changed; make another image",
    });
  if (old?.spec.file !== undefined && old.spec.file !== file)
    causes.push({
      field: "spec.file",
      reason: "FieldValueForbidden",
      message: "Forbidden: cannot be changed, machines may depend on it; make another image",
    });
  return causes;
}
