/** The kind StoragePool. */
import { Type } from "typebox";
import { defineKind, immutable, type ObjectOf, rules } from "../../resource/kind.ts";

export const StoragePool = defineKind({
  kind: "StoragePool",
  plural: "storagepools",
  shortNames: ["pool"],
  namespaced: false,
  description: "StoragePool is a place for disks and images.",
  spec: Type.Object({
    directory: Type.Object(
      {
        path: Type.String({ pattern: "^/", description: "Absolute path of the directory on the hosts." }),
        shared: Type.Boolean({
          default: false,
          description: "Whether all hosts see the same files there (NFS, CephFS, one machine).",
        }),
      },
      rules(immutable("path", "cannot be changed, disks are there; make another pool")),
    ),
  }),
  columns: [
    { name: "Path", type: "string", jsonPath: ".spec.directory.path" },
    { name: "Shared", type: "boolean", jsonPath: ".spec.directory.shared" },
  ],
});
export type StoragePool = ObjectOf<typeof StoragePool>;
