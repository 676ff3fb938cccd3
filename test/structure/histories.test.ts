/** The checker of chaos histories finds what it is there to find. */
import { describe, expect, it } from "vitest";
import { check, type Read, type Watched, type WriteOperation } from "../chaos/histories.ts";

const write = (
  value: string,
  from: number,
  done: number | "unknown",
  begin: number,
  end: number,
): WriteOperation => ({
  kind: "write",
  key: "k",
  value,
  from,
  outcome: done === "unknown" ? done : { done },
  begin,
  end,
});
const read = (value: string | undefined, version: number, begin: number, end: number): Read => ({
  kind: "read",
  key: "k",
  seen: value === undefined ? undefined : { value, version },
  begin,
  end,
});
const watch = (from: number, ...events: [string, number][]): Watched => ({
  from,
  events: events.map(([value, version]) => ({ key: "k", value, version })),
});

describe("a history is explained", () => {
  it("when operations overlap, and writes of unknown outcome happened or did not", () => {
    const history = [
      write("a", 0, 5, 0, 1),
      read("a", 5, 2, 3),
      write("b", 5, 7, 4, 9),
      read("a", 5, 5, 6),
      read("b", 7, 6, 8),
      write("c", 7, "unknown", 10, 11),
      read("c", 9, 12, 13),
      write("d", 9, "unknown", 14, 15),
      read("c", 9, 16, 17),
    ];
    expect(check(history, [watch(0, ["a", 5], ["b", 7], ["c", 9]), watch(5, ["b", 7])])).toEqual([]);
  });
});

describe("a history is refused", () => {
  const A = write("a", 0, 5, 0, 1);
  const B = write("b", 5, 7, 2, 3);
  it.each([
    ["an acknowledged write is lost", [A, B, read("a", 5, 4, 5)], [], "version 5 was seen after 7 had been"],
    [
      "an acknowledged write is lost and the key with it",
      [A, read(undefined, 0, 4, 5)],
      [],
      "version 0 was seen after 5",
    ],
    ["a read is stale", [A, B, read("b", 7, 4, 5), read("a", 5, 6, 7)], [], "version 5 was seen after 7"],
    [
      "two writers win on one version",
      [A, B, write("c", 5, 8, 2, 3)],
      [],
      "k=c was written on 5, but the version before it is 7",
    ],
    ["something is read that nobody wrote", [A, read("x", 5, 2, 3)], [], "saw k=x, which nobody wrote"],
    [
      "a value changes its version",
      [A, read("a", 6, 2, 3)],
      [],
      "saw k=a with version 6; it was written with 5",
    ],
    [
      "a watch leaves one out",
      [A, B, write("c", 7, 9, 4, 5)],
      [watch(0, ["a", 5], ["c", 9])],
      "was not told of k=b (7)",
    ],
    ["a watch tells one twice", [A, B], [watch(0, ["a", 5], ["b", 7], ["b", 7])], "k=b (7) came after 7"],
    ["a watch tells them in the wrong order", [A, B], [watch(0, ["b", 7], ["a", 5])], "k=a (5) came after 7"],
  ])("when %s", (_what, history, watches, message) => {
    expect(check(history, watches).join("\n")).toContain(message);
  });
});
