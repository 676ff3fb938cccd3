/** Rules of images that the schema cannot say. Pure. */
import { type Cause, forbiddenField, invalidField, invalidValue } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import { checkImport } from "./import/kinds.ts";
import type { Image, ImageBuild } from "./kinds.ts";
import type { Format, Recipe } from "./recipe.ts";
import { checkMode, checkParts } from "./recipe-rules.ts";
import { checkChannels } from "./versions/kinds.ts";

export const checkImage = (image: Image, old: Image | undefined, _lookup: Lookup): Cause[] => [
  ...(image.spec.recipe ? checkRecipe(image.spec.recipe) : []),
  // It never changes.
  ...(image.spec.import && !old ? checkImport(image.spec.import) : []),
  ...checkChannels(image, old),
];

export const checkImageBuild = (build: ImageBuild, _old: ImageBuild | undefined, _lookup: Lookup): Cause[] =>
  checkRecipe(build.spec.recipe);

/** Those whose hypervisor starts a machine from its disk alone. */
const NEED_LOADER: readonly Format[] = [
  "vmdk",
  "vmdk-stream",
  "ova",
  "vhd",
  "vhd-fixed",
  "vhdx",
  "vdi",
  "parallels",
  "virtual-pc",
  "virtual-iron",
  "ami",
  "oci",
];
/** Those that have no disk. */
const NEED_RAM: readonly Format[] = ["iso", "pxe"];

function checkRecipe(recipe: Recipe): Cause[] {
  const {
    files = [],
    archives = [],
    packages = [],
    lock,
    root,
    diskMiB,
    formats = [],
    boot = "direct",
  } = recipe;
  const wrongFormats = formats.flatMap((format, i) => {
    const why =
      NEED_LOADER.includes(format) && boot === "direct"
        ? "is started from its disk, which has no boot loader; set spec.recipe.boot to both"
        : NEED_RAM.includes(format) && root !== "ram"
          ? "has no disk to keep the root file system on; set spec.recipe.root to ram"
          : format === "iso" && boot === "direct"
            ? "needs boot loaders; set spec.recipe.boot to both"
            : undefined;
    return why ? [invalidValue(`spec.recipe.formats[${i}]`, format, why)] : [];
  });
  const locked = lock && new Set(lock.map(({ name }) => name));
  const unlocked = packages.flatMap((name, i) =>
    !locked || locked.has(name)
      ? []
      : [
          invalidValue(
            `spec.recipe.packages[${i}]`,
            name,
            "is not in spec.recipe.lock; build without the lock, then take the new one from vireo image lock",
          ),
        ],
  );
  const encoded = files.flatMap(({ content, encoding }, i) =>
    encoding === "base64" &&
    !/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(content.replace(/\s/g, ""))
      ? [invalidField(`spec.recipe.files[${i}].content`, "is not base64; without encoding it is text")]
      : [],
  );
  const paths = files.flatMap(({ path }, i) =>
    path.split("/").includes("..") || path.endsWith("/")
      ? [
          invalidValue(
            `spec.recipe.files[${i}].path`,
            path,
            'must be an absolute path of a file without ".."',
          ),
        ]
      : [],
  );
  const folders = archives.flatMap(({ path = "/" }, i) =>
    path.split("/").includes("..")
      ? [
          invalidValue(
            `spec.recipe.archives[${i}].path`,
            path,
            'must be an absolute path of a folder without ".."',
          ),
        ]
      : [],
  );
  const size =
    root !== undefined && root !== "ext4" && diskMiB !== undefined
      ? [
          forbiddenField(
            "spec.recipe.diskMiB",
            `with root: ${root} there is no root file system on the disk that could be written to; leave it out`,
          ),
        ]
      : [];
  return [
    ...unlocked,
    ...paths,
    ...folders,
    ...encoded,
    ...size,
    ...wrongFormats,
    ...checkParts(recipe),
    ...checkMode(recipe),
  ];
}
