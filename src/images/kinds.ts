/**
 * Image: a bootable disk that machines' system disks are linked overlays of. ImageBuild: one run of building one by a recipe.
 *
 *   Image with a recipe ─► ImageBuild (by the image reconciler) ─┐
 *   ImageBuild (by a user: vireo image build) ───────────────────┴► built, one at a time ─► Succeeded ─► Image: made, or given its recipe ─► Ready
 *                                                                                       └► Failed, Cancelled: the image stays what it was
 *
 * An image is what its newest successful build with its recipe made.
 */
import { type Static, Type } from "typebox";
import {
  AS_SET,
  Conditions,
  defineKind,
  immutable,
  keyedBy,
  Name,
  type ObjectOf,
  rules,
  Words,
} from "../resource/kind.ts";
import { Import, ImportStatus } from "./import/kinds.ts";
import { ARTIFACTS, LockedPackage, Recipe } from "./recipe.ts";
import { type Ability, BUILDABLE } from "./shared.ts";
import { Channels, KEEP_VERSIONS, Version } from "./versions/kinds.ts";

const File = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
  maxLength: 200,
  description: "A file name in the pool's images/ folder; never a path.",
});

const built = {
  file: Type.Optional(File),
  format: Type.Optional(Words(["qcow2", "raw"])),
  virtualBytes: Type.Optional(Type.Integer()),
  allocatedBytes: Type.Optional(Type.Integer()),
  sha256: Type.Optional(Type.String()),
  boot: Type.Optional(
    Type.Object(
      { kernel: File, initrd: File, commandLine: Type.String() },
      { description: "Direct kernel boot with these files; without it the firmware boots the disk." },
    ),
  ),
  packages: Type.Optional(
    Type.Array(
      Type.Object({
        name: Type.String(),
        version: Type.String(),
        arch: LockedPackage.properties.arch,
        sha256: Type.Optional(Type.String()),
        source: Type.Optional(
          Type.Object(
            { name: Type.String(), version: Type.String() },
            { description: "The source package that it was built from, when it is called otherwise." },
          ),
        ),
      }),
      { description: "All packages of the image, the kernel's too." },
    ),
  ),
  artifacts: Type.Optional(
    Type.Array(
      Type.Object({
        format: Words(ARTIFACTS),
        file: File,
        bytes: Type.Integer(),
        sha256: Type.String(),
      }),
      {
        description:
          "The recipe's formats, lists of packages and files, the provenance and its signature, in the pool's images/ folder.",
        ...keyedBy("format"),
      },
    ),
  ),
};

/** What a build made of a recipe. */
export const BuiltImage = Type.Object({ ...built, file: File, sha256: Type.String() });
export type BuiltImage = Static<typeof BuiltImage>;

export const Image = defineKind({
  kind: "Image",
  plural: "images",
  shortNames: ["img"],
  namespaced: false,
  description:
    "Image is a bootable disk. Either `recipe` (Vireo builds it), `file` (it is in the pool already) or `import` (it is brought along).",
  spec: Type.Object(
    {
      storagePool: Name("The StoragePool that holds the image.", { default: "default" }),
      recipe: Type.Optional(Recipe),
      file: Type.Optional(File),
      import: Type.Optional(Import),
      channels: Type.Optional(Channels),
      keepVersions: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 100,
          description: `How many versions are kept that nothing names; ${KEEP_VERSIONS} by default.`,
        }),
      ),
      rebuildHours: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 500,
          description:
            "Built anew so long after its newest build: when its packages have changed it becomes what they make of it, else it stays as it is. Of a recipe without a lock.",
        }),
      ),
    },
    rules(
      {
        rule: "!(has(self.recipe) && has(self.file)) && !(has(self.import) && (has(self.recipe) || has(self.file)))",
        message: "an image has either a recipe or a file or an import, not several of them",
        fieldPath: ".file",
        reason: "FieldValueForbidden",
      },
      {
        rule: "has(self.recipe) || has(self.file) || has(self.import)",
        message:
          "an image has a recipe (it is built), a file (it is in the pool already) or an import (it is brought)",
        fieldPath: ".recipe",
        reason: "FieldValueRequired",
      },
      {
        rule: "!has(self.import) || has(self.import.url) || has(self.import.bytes)",
        message: "an upload says how many bytes will come; what is fetched has a url",
        fieldPath: ".import",
        reason: "FieldValueRequired",
      },
      {
        rule: "!has(oldSelf.import) || (has(self.import) && self.import == oldSelf.import)",
        message: "cannot be changed, machines may depend on it; make another image",
        fieldPath: ".import",
        reason: "FieldValueForbidden",
      },
      immutable("storagePool", "cannot be changed; make another image"),
      {
        rule: "!has(oldSelf.file) || (has(self.file) && self.file == oldSelf.file)",
        message: "cannot be changed, machines may depend on it; make another image",
        fieldPath: ".file",
        reason: "FieldValueForbidden",
      },
    ),
  ),
  // Owner of status: the image reconciler; of one that is brought along, the import reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Building", "Ready", "Failed"])),
    progress: Type.Optional(Type.String({ description: "The stage a build is in." })),
    build: Type.Optional(
      Type.String({ description: "The ImageBuild that it comes from, or that is under way." }),
    ),
    ...built,
    import: Type.Optional(ImportStatus),
    version: Type.Optional(Type.Integer({ description: "Which of its versions it is." })),
    versions: Type.Optional(
      Type.Array(Version, {
        ...keyedBy("version"),
        description: "What machines can be made of; the files of others are removed once no disk needs them.",
      }),
    ),
    observedGeneration: Type.Optional(Type.Integer()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Progress", type: "string", jsonPath: ".status.progress" },
    { name: "Format", type: "string", jsonPath: ".status.format" },
    { name: "Version", type: "integer", jsonPath: ".status.version", priority: 1 },
    { name: "Bytes", type: "integer", jsonPath: ".status.allocatedBytes" },
    { name: "SHA256", type: "string", jsonPath: ".status.sha256", priority: 1 },
  ],
  selectableFields: ["status.phase"],
});
export type Image = ObjectOf<typeof Image>;

const ANOTHER = "cannot be changed; make another build";

export const ImageBuild = defineKind({
  kind: "ImageBuild",
  plural: "imagebuilds",
  shortNames: ["imgbuild"],
  namespaced: false,
  description:
    "ImageBuild is one run of building an image. When it succeeds, the Image is made, or gets the recipe; when it fails or is cancelled, the Image stays what it was.",
  spec: Type.Object(
    {
      image: Name("The Image that it makes."),
      storagePool: Name("The StoragePool that holds the image.", { default: "default" }),
      recipe: Recipe,
      verify: Type.Optional(
        Type.Boolean({
          description:
            "True: the image is built again elsewhere, of its packages alone, each file is compared with the image's, and what was built is thrown away.",
        }),
      ),
      expected: Type.Optional(
        Type.Object(
          {
            file: Type.String({
              pattern: "^[a-z0-9.-]+-[0-9a-f]{12}\\.qcow2$",
              maxLength: 100,
              description: "Of its disk: the name has the digest of recipe, packages and builder.",
            }),
            sha256: Type.String({ pattern: "^[0-9a-f]{64}$", description: "Of its disk." }),
          },
          {
            description:
              "What it has to become, as the status of an image of another installation says: of anything else the build fails, and the Image stays what it was.",
          },
        ),
      ),
      cancelled: Type.Optional(
        Type.Boolean({ description: "True ends the build; nothing is left of it but its log." }),
      ),
    },
    rules(
      ...["image", "storagePool", "recipe"].map((field) => immutable(field, ANOTHER)),
      ...["verify", "expected"].map((field) => immutable(field, ANOTHER, true)),
      {
        rule: "!has(oldSelf.cancelled) || !oldSelf.cancelled || (has(self.cancelled) && self.cancelled)",
        message: "what was cancelled stays so; make another build",
        fieldPath: ".cancelled",
        reason: "FieldValueForbidden",
      },
    ),
  ),
  // Owner of status: the build reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Building", "Succeeded", "Failed", "Cancelled"])),
    message: Type.Optional(Type.String({ description: "The stage it is in, or why it failed." })),
    percent: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 100, description: "By how long the stages took before." }),
    ),
    secondsLeft: Type.Optional(
      Type.Integer({ description: "By how long the stages took before; absent for a first build." }),
    ),
    stages: Type.Optional(
      Type.Array(Type.Object({ name: Type.String(), seconds: Type.Number() }), {
        description: "Those that are over.",
        "x-kubernetes-list-type": "atomic",
      }),
    ),
    startedTime: Type.Optional(Type.String({ format: "date-time" })),
    finishedTime: Type.Optional(Type.String({ format: "date-time" })),
    ...built,
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Image", type: "string", jsonPath: ".spec.image" },
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Percent", type: "integer", jsonPath: ".status.percent" },
    { name: "Message", type: "string", jsonPath: ".status.message" },
    { name: "File", type: "string", jsonPath: ".status.file", priority: 1 },
  ],
  selectableFields: ["spec.image", "status.phase"],
});
export type ImageBuild = ObjectOf<typeof ImageBuild>;

const HINT = "cannot be changed; it is the name's";
const { distribution, release } = Recipe.properties;
const ABILITIES = {
  Slim: BUILDABLE.slim,
  Full: BUILDABLE.full,
  Keys: "KeysAvailable",
  Picker: "PickerAvailable",
} as const satisfies Record<string, Ability>;

export const Distribution = defineKind({
  kind: "Distribution",
  plural: "distributions",
  shortNames: ["distro"],
  namespaced: false,
  madeByVireo: true,
  description:
    "Distribution is a release of an operating system that images are built of. Made by Vireo; its packages and closure subresources answer a package picker.",
  spec: Type.Object(
    { distribution, release },
    rules(immutable("distribution", HINT), immutable("release", HINT)),
  ),
  // Owner of status: the control plane that leads, of its own machine (abilities.ts): it is the one that builds.
  status: Type.Object({
    title: Type.Optional(Type.String({ description: "What it is called." })),
    formats: Type.Optional(
      Type.Array(Type.String(), { ...AS_SET, description: "What a recipe's formats may name." }),
    ),
    modes: Type.Optional(
      Type.Array(Type.String(), { ...AS_SET, description: "What a recipe's mode may be." }),
    ),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Distribution", type: "string", jsonPath: ".spec.distribution" },
    { name: "Release", type: "string", jsonPath: ".spec.release" },
    ...Object.entries(ABILITIES).map(([name, type]) => ({
      name,
      type: "string" as const,
      jsonPath: `.status.conditions[?(@.type=='${type}')].status`,
    })),
  ],
  selectableFields: [],
});
export type Distribution = ObjectOf<typeof Distribution>;
