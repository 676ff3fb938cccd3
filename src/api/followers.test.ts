import fc from "fast-check";
import { expect, it } from "vitest";
import type { Change } from "../store/store.ts";
import { Followers } from "./followers.ts";

const HOSTS = ["", "one", "two"];
const storedOn = (host: string) =>
  JSON.stringify({ metadata: { name: "x" }, spec: host === "" ? {} : { host } });

const step = fc.record({
  at: fc.constantFrom("instances/a/x", "instances/b/x", "hosts/x"),
  host: fc.constantFrom(...HOSTS),
  isDelete: fc.boolean(),
});
const wish = fc.record({
  prefix: fc.constantFrom("", "instances/", "instances/a/"),
  value: fc.option(fc.constantFrom(...HOSTS), { nil: undefined }),
  isOver: fc.boolean(),
});

it("tells who follows one value of a field of the changes that have it before or after, and of no others", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 30 }),
      fc.array(wish, { maxLength: 8 }),
      fc.nat(30),
      (steps, wishes, end) => {
        const followers = new Followers();
        const all = wishes.map(({ prefix, value, isOver }) => {
          const seen: Change[] = [];
          const equality = value === undefined ? undefined : { path: ["spec", "host"], value };
          return { prefix, equality, isOver, seen, onChange: (change: Change) => void seen.push(change) };
        });
        for (const each of all) followers.add(each);
        const now = new Map<string, string>();
        for (const [i, { at, host, isDelete }] of steps.entries()) {
          if (i === end) for (const each of all) if (each.isOver) followers.delete(each);
          const before = now.get(at);
          if (isDelete && before === undefined) continue;
          const after = isDelete ? (before ?? "") : host;
          const change: Change = {
            type: isDelete ? "delete" : "put",
            key: at,
            value: storedOn(after),
            revision: i + 1,
            ...(before === undefined || isDelete ? {} : { previous: storedOn(before) }),
          };
          if (isDelete) now.delete(at);
          else now.set(at, host);
          const counts = all.map(({ seen }) => seen.length);
          followers.tell(change);
          for (const [j, { prefix, equality, isOver, seen }] of all.entries()) {
            const isWanted = !equality || equality.value === after || equality.value === before;
            const isTold = !(isOver && i >= end) && at.startsWith(prefix) && isWanted;
            expect(seen.length - (counts[j] ?? 0)).toBe(isTold ? 1 : 0);
            if (isTold) expect(seen.at(-1)).toBe(change);
          }
        }
      },
    ),
  );
});
