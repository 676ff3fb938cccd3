/** What programs of packages get to see of the control plane. */
import { afterEach, expect, it } from "vitest";
import { sealed } from "./sealed.ts";

const SECRET = "VIREO_TEST_SECRET";
afterEach(() => {
  delete process.env[SECRET];
});

it("nothing of its environment but where programs and folders are", async () => {
  process.env[SECRET] = "hidden";
  const lines: string[] = [];
  await sealed({ log: (line) => lines.push(line.trim()) }, ["env"], { SOURCE_DATE_EPOCH: "7" });
  const names = lines.flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? []);
  expect(names).toEqual(expect.arrayContaining(["PATH", "SOURCE_DATE_EPOCH", "LC_ALL"]));
  const known = ["HOME", "PATH", "TMPDIR", "SOURCE_DATE_EPOCH", "PWD", "SHLVL", "_"];
  const quiet = ["LC_ALL", "LANGUAGE", "DEBIAN_FRONTEND", "DEBCONF_NOWARNINGS"];
  expect(names.filter((name) => ![...known, ...quiet].includes(name))).toEqual([]);
});
