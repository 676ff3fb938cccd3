/** The order of a batch. */
import { expect, it } from "vitest";
import { inBatchOrder } from "./batch.ts";

it("takes one of each kind before the second of any, and keeps the order else", () => {
  const names = ["db-1", "db-2", "db-3", "solo", "web1", "web2", "z"];
  expect(inBatchOrder(names, (name) => name)).toEqual(["db-1", "solo", "web1", "z", "db-2", "web2", "db-3"]);
});
