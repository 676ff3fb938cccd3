/** What a migration has before it as it begins: afterwards nobody could tell how fast its guest wrote, or what its host's link was. */
import type { Client } from "../../client/client.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { Host } from "../hosts/kinds.ts";
import type { Instance } from "../kinds.ts";
import type { Migration, Transfer } from "./kinds.ts";
import { linksOf, memoryToSend, wayOf } from "./way.ts";

export async function toSendOf(
  client: Client,
  { spec: { to } }: Migration,
  { spec, status }: Instance,
  transfer: Transfer,
): Promise<{ toSendBytes: number; linkMbps: number }> {
  const ends = await Promise.all(
    [spec.host, to].map(async (name = "") => {
      const { facts } = (await client.get(Host, { name }))?.status ?? {};
      return facts && { ...linksOf(facts), accelerator: facts.qemu.accelerator };
    }),
  );
  const { accelerator, usage } = status ?? {};
  const way = wayOf(accelerator ? { platform: { accelerator } } : {}, transfer, ends[0], ends[1]);
  const memory = { memoryBytes: parseBytes(spec.memory), ...usage };
  return { toSendBytes: memoryToSend(memory, way), linkMbps: way.mbps };
}
