/** Versions, compared with what dpkg says of the same ones. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { run } from "../../system/run.ts";
import { compareVersions } from "./version.ts";

/** One shell for all pairs: dpkg tells 1 for older, 2 for the same, 3 for newer. */
async function byDpkg(pairs: readonly (readonly [string, string])[]): Promise<number[]> {
  const script = `while read -r a b; do
    if dpkg --compare-versions "$a" lt "$b"; then echo -1; elif dpkg --compare-versions "$a" eq "$b"; then echo 0; else echo 1; fi; done`;
  const said = await run("sh", ["-c", script], {
    input: pairs.map((pair) => `${pair.join(" ")}\n`).join(""),
    timeoutMs: 60_000,
  });
  return said.trim().split("\n").map(Number);
}

const KNOWN: [string, string][] = [
  ["1.0~rc1-1", "1.0-1"],
  ["1.0", "1.0-0"],
  ["1:1.0-1", "2.0-1"],
  ["1.22.1-9", "1.22.1-9+deb12u1"],
  ["1.22.1-9+deb12u1", "1.22.1-9+deb12u11"],
  ["2.36-9+deb12u9", "2.36-9+deb12u14"],
  ["6.1.192-2", "6.1.192-2+b1"],
  ["1.0a", "1.0+"],
  ["1.0+", "1.0~"],
  ["1.01", "1.1"],
  ["1.2.3~git20190206.bf6db5b4+dfsg1-3", "1.2.3+dfsg1-3"],
  ["20240101000000000000001", "20240101000000000000002"],
  ["1-1-1", "1-1-2"],
  ["0", "0~"],
];

it("are ordered as by dpkg, known traps and 300 pairs at random", { timeout: 60_000 }, async () => {
  const part = fc.stringMatching(/^[0-9](?:[0-9a-cA-C.+~]{0,6})$/);
  const version = fc
    .tuple(fc.option(fc.nat(2)), part, fc.option(part))
    .map(
      ([epoch, upstream, revision]) =>
        `${epoch === null ? "" : `${epoch}:`}${upstream}${revision === null ? "" : `-${revision}`}`,
    );
  // Two at random hardly ever differ only a little: half of them have the same beginning.
  const near = fc
    .tuple(version, fc.stringMatching(/^[0-9a-c.+~]{0,3}$/))
    .map(([a, end]): [string, string] => [a, a + end]);
  const random = fc.sample(fc.oneof(fc.tuple(version, version), near), { numRuns: 300, seed: 12 });
  const pairs = [...KNOWN, ...random];
  const right = await byDpkg(pairs);
  for (const [i, [a, b]] of pairs.entries()) {
    expect(Math.sign(compareVersions(a, b)), `${a} and ${b}`).toBe(right[i]);
    expect(Math.sign(compareVersions(b, a)), `${b} and ${a}`).toBe(0 - (right[i] ?? Number.NaN));
  }
});
