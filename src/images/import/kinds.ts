/** The part of an Image that is brought along: from a URL, or sent to the API server. Pure. */
import { type Static, Type } from "typebox";
import { type Cause, forbiddenField, invalidField } from "../../resource/errors.ts";

export const Import = Type.Object(
  {
    sha256: Type.String({
      pattern: "^[0-9a-f]{64}$",
      description: "Of the file as it comes; what is another file is refused.",
    }),
    url: Type.Optional(
      Type.String({
        pattern: "^https?://[^\\s]+$",
        maxLength: 2000,
        description:
          "Where the control plane fetches it: without name and password, and no address of its own; without it the file is sent to …/images/NAME/upload.",
      }),
    ),
    bytes: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 2 ** 46, description: "Size of the file; needed without url." }),
    ),
  },
  {
    description:
      "A disk in a file: qcow2, raw, VMDK, VHD, VHDX, VDI, Parallels or a CD (ISO), also within tar, OVA, OCI, gzip, xz, zstd or bzip2.",
  },
);
export type Import = Static<typeof Import>;

/** Rules that the schema cannot say. What is wrong is not repeated: it may be a secret. */
export function checkImport({ url }: Import): Cause[] {
  if (url === undefined) return [];
  const field = "spec.import.url";
  const parsed = URL.parse(url);
  if (!parsed) return [invalidField(field, "is no URL")];
  if (parsed.username === "" && parsed.password === "") return [];
  const why =
    "whoever may read the image could read name and password; use a URL without them, or fetch the file, and send it: vireo image import NAME FILE";
  return [forbiddenField(field, why)];
}

export const ImportStatus = Type.Object(
  {
    receivedBytes: Type.Integer(),
    totalBytes: Type.Optional(Type.Integer()),
  },
  { description: "How much of the file is there." },
);
