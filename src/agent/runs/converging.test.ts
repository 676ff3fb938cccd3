import fc from "fast-check";
import { expect, it } from "vitest";
import { Converging, LEAST_WRITTEN, type Verdict } from "./converging.ts";

const MiB = 2 ** 20;

/** A link and a guest, looked at every second until all is sent or it fails. @param writes of the guest a second, when nothing holds it back */
function copy({ size, link, writes }: { size: number; link: number; writes: (slowedTo: number) => number }) {
  const converging = new Converging(false);
  const said: Verdict[] = [];
  let [sent, left, slowedTo, atMs] = [0, size, Number.POSITIVE_INFINITY, 0];
  for (let i = 0; i < 10_000 && left > 0; i++) {
    const verdict = converging.look({ transferredBytes: sent, remainingBytes: left }, atMs);
    if (verdict) said.push(verdict);
    if (verdict?.do === "fail") break;
    if (verdict) slowedTo = verdict.bytesPerSecond;
    const moved = Math.min(left, link);
    sent += moved;
    left = left - moved + writes(slowedTo);
    atMs += 1000;
    if (moved === left) break; // all but what is just being written
  }
  return { said, left, slowedTo, seconds: atMs / 1000 };
}

it("a guest that writes little is left alone, however long it takes", () => {
  const { said } = copy({ size: 1000 * MiB, link: 10 * MiB, writes: () => 4 * MiB });
  expect(said).toEqual([]);
});

it("one that writes more than half of what is sent is slowed to half of that, after two windows", () => {
  const { said, seconds } = copy({
    size: 1000 * MiB,
    link: 10 * MiB,
    writes: (slowedTo) => Math.min(slowedTo, 20 * MiB),
  });
  expect(said).toEqual([
    { do: "slow", bytesPerSecond: 5 * MiB, sentPerSecond: 10 * MiB, writtenPerSecond: 20 * MiB },
  ]);
  expect(seconds).toBeLessThan(300);
});

it("whatever the guest and the link: it comes to an end, or fails with its reason, in bounded time", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2000 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 0, max: 400 }),
      // What a limit of so many bytes lets through: small writes make more to be sent than they are.
      fc.constantFrom(0.5, 1, 4),
      (size, link, writes, factor) => {
        const { said, left, seconds } = copy({
          size: size * MiB,
          link: link * MiB,
          writes: (slowedTo) => Math.min(slowedTo * factor, writes * MiB),
        });
        expect(left <= link * MiB || said.at(-1)?.do === "fail").toBe(true);
        // What was written before it was slowed enough has to be sent, too.
        expect(seconds).toBeLessThan(300 + (4 * size + 200 * writes) / link);
      },
    ),
  );
});

it("a link that is slower than a guest which hardly writes any more is told of", () => {
  const { said, slowedTo } = copy({ size: 100 * MiB, link: MiB, writes: () => MiB });
  expect(slowedTo).toBe(LEAST_WRITTEN);
  expect(said.at(-1)).toEqual({
    do: "fail",
    why: expect.stringMatching(/faster than they are sent \(1Mi a second\), though .* slowed to 256Ki a/),
  });
});

it("what goes in few large pieces is judged by whole pieces", () => {
  const converging = new Converging(false);
  const said = Array.from({ length: 45 }, (_, i) => {
    const pieces = Math.floor(i / 15);
    return converging.look({ transferredBytes: pieces * 15 * MiB, remainingBytes: 15 * MiB }, i * 1000);
  });
  expect(said.flatMap((verdict) => verdict ?? [])).toEqual([
    { do: "slow", bytesPerSecond: MiB / 2, sentPerSecond: MiB, writtenPerSecond: MiB },
  ]);
});

it.each([
  { limited: false, seconds: 60 },
  { limited: true, seconds: 600 },
])("a target that takes nothing any more is given up, when limited=$limited after $seconds s", (of) => {
  const converging = new Converging(of.limited);
  const at = { transferredBytes: 5, remainingBytes: 5 };
  expect(converging.look(at, 0)).toBeUndefined();
  expect(converging.look(at, of.seconds * 1000 - 1)).toBeUndefined();
  const why = `nothing of its disks could be sent for ${of.seconds} s`;
  expect(converging.look(at, of.seconds * 1000)).toEqual({ do: "fail", why });
});
