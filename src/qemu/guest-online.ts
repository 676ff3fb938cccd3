/**
 * CPUs and memory that came while a guest runs are of use to it once it has brought them online. Where nothing in the guest does (udev's rules, a kernel
 * parameter), its agent is asked to.
 */
import { askGuestAgent } from "./guest-agent.ts";
import type { Refusal } from "./hotplug.ts";
import { isFields } from "./qmp.ts";

const ANSWER_MS = 2000;
/** How long a guest may take to notice what came. */
const NOTICE_MS = 5000;
const LOOK_MS = 250;

/** @param cpus that it is to use. @returns what it does not, as far as an agent in the guest tells */
export async function bringOnline(socket: string, cpus: number): Promise<Refusal[]> {
  for (const deadline = Date.now() + NOTICE_MS; ; ) {
    const all = await list(socket, "guest-get-vcpus");
    if (!all) return [];
    const offline = all.filter(({ online }) => online === false);
    if (offline.length > 0) {
      const vcpus = offline.map((cpu) => ({ "logical-id": cpu["logical-id"], online: true }));
      await askGuestAgent(socket, "guest-set-vcpus", ANSWER_MS, { vcpus });
    }
    if (all.length - offline.length >= cpus) break;
    if (Date.now() > deadline)
      return [
        { of: "cpus", why: `the guest uses ${all.length - offline.length} of its ${cpus} CPUs so far` },
      ];
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  const blocks = (await list(socket, "guest-get-memory-blocks")) ?? [];
  const offline = blocks.filter(({ online }) => online === false);
  if (offline.length === 0) return [];
  const memory = offline.map((block) => ({ "phys-index": block["phys-index"], online: true }));
  await askGuestAgent(socket, "guest-set-memory-blocks", ANSWER_MS, { "mem-blks": memory });
  return [];
}

async function list(socket: string, command: string): Promise<Record<string, unknown>[] | undefined> {
  const answer = await askGuestAgent(socket, command, ANSWER_MS);
  return Array.isArray(answer) ? answer.filter(isFields) : undefined;
}
