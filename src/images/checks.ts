/** Rules of images that the schema cannot say. Pure. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Image } from "./kinds.ts";

export function checkImage(image: Image, _old: Image | undefined, _lookup: Lookup): Cause[] {
  const { files = [], packages = [], lock } = image.spec.recipe ?? {};
  const locked = lock && new Set(lock.map(({ name }) => name));
  const unlocked = packages.flatMap((name, i) =>
    !locked || locked.has(name)
      ? []
      : [
          {
            field: `spec.recipe.packages[${i}]`,
            reason: "FieldValueInvalid" as const,
            message: `Invalid value: ${JSON.stringify(name)}: is not in spec.recipe.lock; build without the lock, then take the new one from vireo image lock`,
          },
        ],
  );
  const paths = files.flatMap(({ path }, i) =>
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
  return [...unlocked, ...paths];
}
