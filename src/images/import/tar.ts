/**
 * What a tar archive of this machine has (tar-headers.ts). Nothing is unpacked by name here: the importer copies the bytes of the one member
 * that it wants to a place of its own, so no name, link or device in an archive leads anywhere; what recipes bring is put into the image by ../archives/unpack.ts.
 */
import { open } from "node:fs/promises";
import { type Member, membersIn } from "./tar-headers.ts";

export type { Member };

const MAX_MEMBERS = 10_000;

/** @throws Error for what is damaged, or has too many members */
export async function tarMembers(path: string, most = MAX_MEMBERS): Promise<Member[]> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const read = async (at: number, length: number) => {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await file.read(bytes, 0, length, at);
      return bytes.subarray(0, bytesRead);
    };
    return await membersIn(read, size, most);
  } finally {
    await file.close();
  }
}
