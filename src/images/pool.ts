/** Where in a storage pool images are. */
import { join } from "node:path";
import type { Client } from "../client/client.ts";
import { StoragePool } from "../compute/storage/kinds.ts";

/** The pool's folder of images. @throws Error for users */
export async function imagesFolder(client: Client, storagePool: string): Promise<string> {
  const pool = await client.get(StoragePool, { name: storagePool });
  if (!pool) throw new Error(`spec.storagePool: there is no StoragePool ${storagePool}`);
  return join(pool.spec.directory.path, "images");
}
