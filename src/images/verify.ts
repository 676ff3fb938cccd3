/** Whether an image is signed, and what its lock and its recipe make of it: it is built again elsewhere, of the packages alone, and every file compared. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { sha256Of } from "../system/digest.ts";
import { archivesFolder } from "./archives/store.ts";
import { type BuildOptions, buildImage } from "./build/builder.ts";
import type { BuiltImage } from "./kinds.ts";
import { checkedFiles, SignatureError } from "./trust/signature.ts";
import { signatureOf, UNSIGNED } from "./trust/standing.ts";

/** The files of an image in the pool, and what each should be by what was told of it when it was built. */
const filesOf = ({ file, sha256, boot, artifacts = [] }: Partial<BuiltImage>) => [
  ...(file ? [{ file, sha256 }] : []),
  ...(boot ? [boot.kernel, boot.initrd].map((file) => ({ file, sha256: undefined })) : []),
  ...artifacts.map(({ file, sha256 }) => ({ file, sha256 })),
];

/** What the installation's signature does not speak for. @returns nothing when there is a signature, and all files are those that were signed */
async function unsigned(
  { folder, signer }: BuildOptions,
  { artifacts = [] }: Partial<BuiltImage>,
  digests: ReadonlyMap<string, string>,
): Promise<string[]> {
  if (!signer) return [];
  const signature = signatureOf(artifacts);
  if (!signature) return [`it ${UNSIGNED}`];
  // They are what is signed, and the signature.
  const apart = new Set(
    artifacts.flatMap(({ format, file }) => (/^(?:provenance|signature)$/.test(format) ? [file] : [])),
  );
  try {
    const signed = checkedFiles(await readFile(join(folder, signature.file), "utf8"), signer.publicKey);
    return [...digests].flatMap(([file, digest]) =>
      apart.has(file) || signed.get(file) === digest ? [] : [`${file} is not the file that was signed`],
    );
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error;
    return [`${signature.file} ${error.message}`];
  }
}

/**
 * @param options of the build, with the image's lock; nothing of it stays
 * @returns how many files are the same. @throws Error naming those that are not
 */
export async function verifyImage(options: BuildOptions, image: Partial<BuiltImage>): Promise<number> {
  const before = filesOf(image);
  const changed: string[] = [];
  const digests = new Map<string, string>();
  for (const { file, sha256 } of before) {
    const is = await sha256Of(join(options.folder, file)).catch(() => undefined);
    if (is === undefined) changed.push(`${file} is missing in the pool`);
    else if (sha256 !== undefined && is !== sha256) changed.push(`${file} was changed after it was built`);
    else digests.set(file, is);
  }
  if (changed.length === 0) changed.push(...(await unsigned(options, image, digests)));
  // Nothing needs to be built to know that.
  if (changed.length > 0) throw new Error(changed.join("; "));
  const folder = await mkdtemp(join(options.folder, ".build-verify-"));
  try {
    // Its own layers, too: what is wrong in the cache would else be right here.
    const again = await buildImage({
      ...options,
      folder: join(folder, "images"),
      archives: options.archives ?? archivesFolder(options.folder),
      layers: join(folder, "layers"),
    });
    const after = new Set(filesOf(again).map(({ file }) => file));
    const wrong: string[] = [];
    for (const [file, digest] of digests)
      if (!after.has(file)) wrong.push(`${file} is not what this version of Vireo makes of the recipe`);
      else if ((await sha256Of(join(folder, "images", file))) !== digest)
        wrong.push(`${file} is another when it is built again`);
    if (wrong.length > 0) throw new Error(wrong.join("; "));
    return before.length;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
