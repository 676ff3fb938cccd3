/** What can be called off. */
import { expect, it } from "vitest";
import { whyNotCallOffRollback, whyNotCallOffSnapshot } from "./calloff.ts";
import type { Rollback, Snapshot } from "./kinds.ts";

const may = () => undefined;
const mayNot = (verb: string, resource: string) => `not ${verb} ${resource}`;
const snapshot = (phase?: string, metadata = {}) => ({ metadata, status: { phase } }) as Snapshot;
const rollback = (phase?: string) => ({ metadata: {}, status: { phase } }) as Rollback;

it("calls off a snapshot that waits, and none that has begun", () => {
  expect(whyNotCallOffSnapshot(snapshot(), may)).toBeUndefined();
  expect(whyNotCallOffSnapshot(snapshot("Pending"), may)).toBeUndefined();
  expect(whyNotCallOffSnapshot(snapshot("Pending"), mayNot)).toBe("not delete snapshots");
  expect(whyNotCallOffSnapshot(snapshot("Taking"), may)).toMatch("has begun");
  expect(whyNotCallOffSnapshot(snapshot("Pending", { finalizers: ["vireo.dev/snapshot"] }), may)).toMatch(
    "has begun",
  );
  expect(whyNotCallOffSnapshot(snapshot("Ready", { deletionTimestamp: "now" }), may)).toMatch("Its deletion");
});

it("calls off a rollback that waits, and none that has begun", () => {
  expect(whyNotCallOffRollback(rollback(), may)).toBeUndefined();
  expect(whyNotCallOffRollback(rollback("Pending"), mayNot)).toBe("not delete rollbacks");
  expect(whyNotCallOffRollback(rollback("Running"), may)).toMatch("has begun");
});
