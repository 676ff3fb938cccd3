/** Why packages cannot be installed together, told from what apt says: its own texts, of bookworm. */
import { expect, it, vi } from "vitest";
import { explainConflict, unmetOf } from "./conflicts.ts";

const HEAD = "The following packages have unmet dependencies:\n";
/** apt, for sets of names: the first of these whose names are all asked for. */
const apt = (answers: readonly [string[], string][]) => async (names: readonly string[]) =>
  answers.find(([some]) => some.every((name) => names.includes(name)))?.[1];
const brings = (all: Record<string, string[]>) => async (name: string) =>
  new Set([name, ...(all[name] ?? [])]);

it("reads apt's lines", () => {
  expect(
    unmetOf(`${HEAD} exim4 : Depends: exim4-daemon-light (>= 4.96-15+deb12u11) but it is not installable or
                  exim4-daemon-heavy (>= 4.96-15+deb12u11) but it is not installable
 libc6:amd64 : Breaks: x:i386 (< 2)
`),
  ).toEqual([
    { name: "exim4", how: "Depends", what: "exim4-daemon-light" },
    { name: "libc6", how: "Breaks", what: "x" },
  ]);
});

it("names the two of the recipe, and what comes between", async () => {
  const against = apt([
    [
      ["exim4", "postfix"],
      `${HEAD} exim4 : Depends: exim4-daemon-light but it is not installable\n exim4-config : Conflicts: postfix but 3.7 is to be installed\n`,
    ],
  ]);
  const asking = { named: ["exim4", "nginx", "postfix", "curl"], base: ["netbase"], against };
  expect(await explainConflict({ ...asking, brings: brings({ exim4: ["exim4-config"] }) })).toBe(
    "exim4 (recipe.packages[0]) needs exim4-config, which conflicts with postfix (recipe.packages[2])",
  );
});

it("tells of names that are provided, of what every image has, and of what is not to be had", async () => {
  expect(
    await explainConflict({
      named: ["a", "b"],
      base: [],
      against: apt([[["a", "b"], `${HEAD} a : Conflicts: mail-transport-agent\n`]]),
      brings: brings({}),
    }),
  ).toBe("a (recipe.packages[0]) conflicts with mail-transport-agent, which b (recipe.packages[1]) provides");
  expect(
    await explainConflict({
      named: ["nginx", "sysvinit-core"],
      base: ["systemd-sysv"],
      against: apt([
        [
          ["sysvinit-core", "systemd-sysv"],
          `${HEAD} systemd-sysv : Conflicts: sysvinit-core but 3 is to be installed\n`,
        ],
      ]),
      brings: brings({}),
    }),
  ).toBe("systemd-sysv (which Vireo adds) conflicts with sysvinit-core (recipe.packages[1])");
  expect(
    await explainConflict({
      named: ["broken"],
      base: [],
      against: apt([[["broken"], `${HEAD} broken : Depends: gone but it is not installable\n`]]),
      brings: brings({}),
    }),
  ).toBe("broken (recipe.packages[0]) needs gone, which is not to be had");
  expect(
    await explainConflict({
      named: ["postfix", "sendmail"],
      base: [],
      against: apt([
        [["postfix", "sendmail"], `${HEAD} sendmail : Depends: sendmail-bin but it is not installable\n`],
      ]),
      brings: brings({}),
    }),
  ).toBe(
    "sendmail (recipe.packages[1]) needs sendmail-bin, which cannot be there together with postfix (recipe.packages[0])",
  );
});

it("asks apt no more than whether it sees it as our solver does; where it does not, it is asked for all", async () => {
  const pair = (names: readonly string[]) => names.includes("exim4") && names.includes("postfix");
  const against = vi.fn(
    apt([[["exim4", "postfix"], `${HEAD} exim4 : Conflicts: postfix but 3.7 is to be\n`]]),
  );
  const asking = {
    named: ["a", "exim4", "b", "postfix", "c"],
    base: ["netbase"],
    against,
    brings: brings({}),
  };
  const told = "exim4 (recipe.packages[1]) conflicts with postfix (recipe.packages[3])";
  expect(await explainConflict({ ...asking, guess: async (names) => pair(names) })).toBe(told);
  expect(against.mock.calls).toEqual([[["exim4", "postfix"]]]);
  expect(await explainConflict({ ...asking, guess: async (names) => names.includes("b") })).toBe(told);
  expect(await explainConflict({ ...asking, guess: async () => false })).toBe(told);
});

it("says nothing when apt does not", async () => {
  const against = async () => undefined;
  expect(await explainConflict({ named: ["a"], base: [], against, brings: brings({}) })).toBeUndefined();
});
