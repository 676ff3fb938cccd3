/** The verb from files to table and picture, and what it says of files that are wrong. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, it } from "vitest";
import { statePaths } from "./paths.ts";
import { simulate } from "./simulate.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-simulate-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const example = (name: string) => join(resolve(import.meta.dirname, "../../examples/simulate"), name);
const out = join(folder, "out.svg");

async function run(policies: string[], more: { trace?: string; estate?: string } = {}): Promise<string> {
  const lines: string[] = [];
  const files = { trace: example("load.csv"), estate: example("estate.yaml"), ...more };
  const options = { ...files, policies, days: 0.5, cpus: 1, memoryBytes: 2 ** 31, out };
  await simulate(
    { paths: statePaths(folder) },
    options,
    (line) => lines.push(line),
    () => undefined,
  );
  return lines.join("\n");
}

it("compares policies as a table and as a picture, and says that it is simulated", async () => {
  const told = await run([example("energy.yaml"), example("performance.yaml")]);
  expect(told).toMatch(/^Simulated, not measured: 48 machines of the trace on 6 declared hosts, 0.5 days/);
  expect(told).toMatch(/^POLICY +ENERGY KWH .*\nenergy +\d.*\nperformance +\d/m);
  expect(readFileSync(out, "utf8")).toMatch(/^<svg /);
});

it("says what is wrong with a policy, and where", async () => {
  const file = join(folder, "odd.yaml");
  writeFileSync(file, readFileSync(example("energy.yaml"), "utf8").replace("goal: energy", "goal: speed"));
  await expect(run([file])).rejects.toThrow(/odd\.yaml:1: .*spec\.goals\[0\]\.goal: /);
  writeFileSync(file, readFileSync(example("energy.yaml"), "utf8").replace("goal: energy", "gaol: energy"));
  await expect(run([file])).rejects.toThrow(/odd\.yaml:1: .*unknown field "spec\.goals\[0\]\.gaol"/);
  await expect(run([join(folder, "none.yaml")])).rejects.toThrow("none.yaml: no such file");
  await expect(run([example("energy.yaml")], { trace: join(folder, "none.csv") })).rejects.toThrow(
    "none.csv: no such file",
  );
  await expect(run([example("energy.yaml")], { estate: join(folder, "none.yaml") })).rejects.toThrow(
    "none.yaml: no such file",
  );
  await expect(run(["energy"])).rejects.toThrow("no control plane in");
});
