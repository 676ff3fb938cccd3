/** Files that Vireo and the recipe put into a root file system beside those of the packages. */
import { posix } from "node:path";
import { bytesOf, type Recipe } from "../recipe.ts";

export interface GuestFile {
  path: string;
  content: string | Buffer;
  mode: number;
}

/** Those that the recipe has itself. */
export const filesOf = (recipe: Recipe): GuestFile[] =>
  (recipe.files ?? []).map((each) => ({
    path: each.path,
    content: each.encoding ? bytesOf(each) : each.content,
    mode: Number.parseInt(each.mode ?? "0644", 8),
  }));

/** What is mounted over these, or made anew, when a machine starts. */
const PASSING = /^\/(?:run|tmp|dev\/shm|var\/run|var\/lock)\/./;

/** Those of the recipe's folders that each machine makes when it starts: what the image has there is hidden. */
export const passingFolders = ({ directories = [] }: Recipe): string[] =>
  directories.map((path) => posix.normalize(path)).filter((path) => PASSING.test(path));
