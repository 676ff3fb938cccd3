/** That starts, stops and moves leave nothing behind, on real processes; a hundred of each: bench/cycles.ts. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { runCycles } from "./support/cycles.ts";
import { Stack } from "./support/stack.ts";

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.create();
  const { code, stdout, stderr } = await stack.up(["--hosts", "2"]);
  if (code !== 0) throw new Error(stdout + stderr);
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(() => stack?.destroy());

it("a machine that is started, stopped and moved again and again leaves nothing", async () => {
  const { paths, client } = stack;
  const hosts = ["fast-1", "frugal-1"] as const;
  expect(await runCycles({ paths, client, hosts, startStops: 3, migrations: 4 })).toEqual([]);
});
