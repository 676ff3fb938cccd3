import { expect, it } from "vitest";
import { InTime } from "./in-time.ts";

const fail = (error: unknown) => {
  throw error;
};

it("a pool that does not answer is waited for once, told of once, and looked at again when it has answered", async () => {
  const inTime = new InTime(1);
  const told: string[] = [];
  const tell = ({ message }: Error) => told.push(message);
  let answer: () => void = () => undefined;
  const hangs = new Promise<string[]>((resolve) => {
    answer = () => resolve([]);
  });
  expect(await inTime.run("nfs", () => hangs, tell)).toBeUndefined();
  expect(told).toEqual([expect.stringContaining("the storage pool nfs has not answered")]);
  expect(await inTime.run("nfs", async () => fail("it was asked again"), tell)).toBeUndefined();
  expect(told.length).toBe(1);
  answer();
  await expect.poll(() => inTime.run("nfs", async () => ["left"], tell)).toEqual(["left"]);
});

it("what goes wrong in time is thrown, and other pools are looked at meanwhile", async () => {
  const inTime = new InTime(1);
  await inTime.run(
    "nfs",
    () => new Promise(() => undefined),
    () => undefined,
  );
  expect(await inTime.run("local", async () => 1, fail)).toBe(1);
  await expect(inTime.run("local", async () => fail(new Error("no such folder")), fail)).rejects.toThrow(
    "no such",
  );
});
