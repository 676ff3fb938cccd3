/** What is told when packages of a lock are not to be had. */
import { expect, it } from "vitest";
import { fetchAsLocked } from "./asked.ts";
import { DroppedError } from "./package-error.ts";

const told = (dropped: string[], snapshot?: string) =>
  fetchAsLocked(
    [],
    async () => {
      throw new DroppedError(dropped, ["http://one", "http://two"], snapshot ? { snapshot } : {});
    },
    undefined,
    () => "what the tool said",
  ).catch(String);

it("each with its version, where it was looked for, and what would help", async () => {
  expect(await told(["bash 5.2-1"], "http://snapshot/DAY")).toBe(
    "Error: recipe.lock: not all of its packages are to be had: bash 5.2-1 is not there, or no longer, at http://one and http://two; name a mirror that has it in recipe.mirror.uri, such as http://snapshot/DAY of that time, or make the lock anew; without recipe.lock the image is built from today's",
  );
  expect(await told(Array.from({ length: 12 }, (_, i) => `p${i} 1`))).toContain(
    "p8 1, p9 1 and 2 more are not there, or no longer, at http://one and http://two; name a mirror that has them",
  );
});
