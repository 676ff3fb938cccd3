/** Times of files, which are clamped to one moment: what is made of the same files is then the same, bit for bit, whenever it is made. */
import { step, type Workshop } from "./workshop.ts";

/** The moment that the newest of the unpacked files has, in seconds since 1970: an image is as old as its packages. */
export async function newestFile(work: Workshop, root: string): Promise<number> {
  const times = await step(work, "find", [root, "-type", "f", "-printf", "%Ts\\n"]);
  return times.split("\n").reduce((newest, text) => Math.max(newest, Number(text)), 0);
}

/** No file of the tree is newer than `epoch` (seconds since 1970) afterwards. Links themselves are set, not what they lead to. */
export async function clampTimes(work: Workshop, tree: string, epoch: number): Promise<void> {
  await step(work, "find", [
    tree,
    "-newermt",
    `@${epoch}`,
    "-exec",
    "touch",
    "-h",
    "-d",
    `@${epoch}`,
    "{}",
    "+",
  ]);
}
