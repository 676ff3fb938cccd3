import { setTimeout as wait } from "node:timers/promises";
import { expect, it } from "vitest";
import { Serial } from "./serial.ts";

it("One after another, in their order, whatever fails", async () => {
  const serial = new Serial();
  const said: string[] = [];
  const work = (name: string, ms: number) => async () => {
    said.push(`${name} begins`);
    await wait(ms);
    said.push(`${name} ends`);
    if (name === "b") throw new Error("b fails");
    return name;
  };
  const all = [serial.run(work("a", 20)), serial.run(work("b", 10)), serial.run(work("c", 0))];
  expect(await Promise.allSettled(all)).toMatchObject([
    { value: "a" },
    { reason: { message: "b fails" } },
    { value: "c" },
  ]);
  expect(said).toEqual(["a", "b", "c"].flatMap((name) => [`${name} begins`, `${name} ends`]));
});
