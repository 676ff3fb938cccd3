import { expect, it } from "vitest";
import { afterWatch } from "./again.ts";

const good = { opened: true, orderly: true, error: undefined };

it("a watch that ended as watches do goes on at once, one that was cut after a moment", () => {
  expect(afterWatch(3, good)).toEqual({ failures: 0, anew: false, wait: false });
  expect(afterWatch(0, { ...good, orderly: false })).toEqual({ failures: 0, anew: false, wait: true });
});

it("what is too old is listed anew at once, but not in a loop", () => {
  const expired = { ...good, error: "expired" } as const;
  expect(afterWatch(0, expired)).toEqual({ failures: 1, anew: true, wait: false });
  expect(afterWatch(1, expired)).toEqual({ failures: 2, anew: true, wait: true });
});

it("before a server that cannot answer is asked for a list again there is a wait, which grows", () => {
  for (const ended of [
    { ...good, error: "other" } as const,
    { opened: false, orderly: false, error: undefined },
  ]) {
    expect(afterWatch(0, ended)).toEqual({ failures: 1, anew: false, wait: true });
    expect(afterWatch(1, ended)).toEqual({ failures: 2, anew: true, wait: true });
    expect(afterWatch(2, ended)).toEqual({ failures: 3, anew: true, wait: true });
  }
});
