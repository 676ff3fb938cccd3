/** The Image kind: a bootable disk that machines' system disks are linked overlays of. */
import { Type } from "typebox";
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

const File = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
  maxLength: 200,
  description: "A file name in the pool's images/ folder; never a path.",
});

const LockedPackage = Type.Object({
  name: Type.String({ pattern: "^[a-z0-9][a-z0-9+.-]+$", maxLength: 200 }),
  version: Type.String({ pattern: "^[A-Za-z0-9.+:~-]+$", maxLength: 200 }),
  sha256: Type.String({ pattern: "^[0-9a-f]{64}$", description: "Of the .deb file." }),
});

const Recipe = Type.Object(
  {
    distribution: Words(["debian"], { default: "debian" }),
    release: Words(["bookworm"], { default: "bookworm" }),
    packages: Type.Array(Type.String({ pattern: "^[a-z0-9][a-z0-9+.-]+$" }), {
      maxItems: 200,
      uniqueItems: true,
      ...AS_SET,
      description: "Debian packages, by name. Slim images unpack them: maintainer scripts do not run.",
    }),
    services: Type.Optional(
      Type.Array(
        Type.Object({
          name: Name("Name of the service."),
          command: Type.String({
            minLength: 1,
            pattern: "^[^\\n]*$",
            description: "Run in the foreground by init and started again when it ends.",
          }),
        }),
        { description: "What init keeps running.", ...keyedBy("name") },
      ),
    ),
    directories: Type.Optional(
      Type.Array(Type.String({ pattern: "^/", maxLength: 200 }), {
        maxItems: 200,
        uniqueItems: true,
        ...AS_SET,
        description: "Folders to make, such as those that a package's maintainer scripts would have made.",
      }),
    ),
    files: Type.Optional(
      Type.Array(
        Type.Object({
          path: Type.String({ pattern: "^/", description: "Absolute path in the image." }),
          content: Type.String({ maxLength: 262144 }),
          mode: Type.Optional(
            Type.String({ pattern: "^0[0-7]{3}$", description: 'File mode, "0644" by default.' }),
          ),
        }),
        keyedBy("path"),
      ),
    ),
    lock: Type.Optional(
      Type.Array(LockedPackage, {
        maxItems: 2000,
        ...keyedBy("name"),
        description:
          "Exactly these packages are used, nothing is resolved: the same lock gives the same image, bit for bit. `vireo image lock` prints it.",
      }),
    ),
    diskMiB: Type.Optional(
      Type.Integer({
        minimum: 16,
        maximum: 1048576,
        description: "Size of the root file system; what it needs plus half, by default.",
      }),
    ),
  },
  { description: "How the image is built." },
);

export const Image = defineKind({
  kind: "Image",
  plural: "images",
  shortNames: ["img"],
  namespaced: false,
  description:
    "Image is a bootable disk. Either `recipe` (Vireo builds it) or `file` (it is in the pool already).",
  spec: Type.Object(
    {
      storagePool: Name("The StoragePool that holds the image.", { default: "default" }),
      recipe: Type.Optional(Recipe),
      file: Type.Optional(File),
    },
    rules(
      {
        rule: "!(has(self.recipe) && has(self.file))",
        message: "an image has either a recipe or a file, not both",
        fieldPath: ".file",
        reason: "FieldValueForbidden",
      },
      {
        rule: "has(self.recipe) || has(self.file)",
        message: "an image has a recipe (it is built) or a file (it is in the pool already)",
        fieldPath: ".recipe",
        reason: "FieldValueRequired",
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
  // Owner of status: the image reconciler.
  status: Type.Object({
    phase: Type.Optional(Words(["Pending", "Building", "Ready", "Failed"])),
    progress: Type.Optional(Type.String({ description: "The stage a build is in." })),
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
        Type.Object({ name: Type.String(), version: Type.String(), sha256: Type.Optional(Type.String()) }),
        { description: "All packages of the image, the kernel's too." },
      ),
    ),
    observedGeneration: Type.Optional(Type.Integer()),
    conditions: Type.Optional(Conditions),
  }),
  columns: [
    { name: "Phase", type: "string", jsonPath: ".status.phase" },
    { name: "Progress", type: "string", jsonPath: ".status.progress" },
    { name: "Format", type: "string", jsonPath: ".status.format" },
    { name: "Bytes", type: "integer", jsonPath: ".status.allocatedBytes" },
    { name: "SHA256", type: "string", jsonPath: ".status.sha256", priority: 1 },
  ],
  selectableFields: ["status.phase"],
});
export type Image = ObjectOf<typeof Image>;
