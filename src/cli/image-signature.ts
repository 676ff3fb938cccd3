/** `vireo image key`, `check`: whether files come from an installation. Checking needs none. */
import { readFile } from "node:fs/promises";
import { checkedFiles, SignatureError } from "../images/trust/signature.ts";
import { sha256Of } from "../system/digest.ts";
import { connectTo } from "./connect.ts";
import type { Place } from "./resources.ts";
import { UserError, unreadable } from "./user-error.ts";

type Print = (line: string) => void;

/** The public key that the image's signature is checked with, PEM. @throws UserError */
export async function printKey(place: Place, name: string, print: Print): Promise<void> {
  const chunks: Buffer[] = [];
  const path = `/apis/vireo.dev/v1/images/${encodeURIComponent(name)}/key`;
  for await (const bytes of connectTo(place).bytes(path)) chunks.push(bytes);
  print(Buffer.concat(chunks).toString("utf8").trimEnd());
}

/** By their content: they may have other names by now. @throws UserError naming those that were not signed */
export async function checkFiles(
  files: readonly string[],
  { signature, key }: { signature: string; key: string },
  print: Print,
): Promise<void> {
  const read = (file: string) =>
    readFile(file, "utf8").catch((cause: unknown) => {
      throw unreadable(file, cause);
    });
  let signed: Map<string, string>;
  try {
    signed = checkedFiles(await read(signature), await read(key));
  } catch (error) {
    if (error instanceof SignatureError)
      throw new UserError(`${signature}: ${error.message}`, { cause: error });
    throw error;
  }
  const names = new Map([...signed].map(([name, sha256]) => [sha256, name]));
  const wrong: string[] = [];
  for (const file of files) {
    const digest = await sha256Of(file).catch((cause: unknown) => {
      throw unreadable(file, cause);
    });
    const name = names.get(digest);
    if (name === undefined) wrong.push(file);
    else print(`${file}: is ${name}, signed`);
  }
  if (wrong.length > 0)
    throw new UserError(`${wrong.join(", ")}: not among the files that ${signature} was made for`);
}
