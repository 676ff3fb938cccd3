/** Which runs the machine's disks were of. */
import { expect, it } from "vitest";
import { hostOfDisks } from "./custody.ts";
import { hadCustody, type Instance } from "./kinds.ts";

type EndReason = NonNullable<NonNullable<Instance["status"]>["end"]>["reason"];

const target = (number: number, host: string, reason: EndReason): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: { name: `web-${number}`, namespace: "default" },
  spec: {
    vm: "web",
    vmUid: "v",
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "local",
    interfaces: [],
    host,
    incoming: true,
  },
  status: {
    phase: "Failed",
    custody: "Released",
    end: { reason, message: "", time: "2026-01-01T00:00:00Z" },
  },
});

it("of one that was lost in post-copy, after it had taken over; not of one that never had", () => {
  const [lost, never] = [target(2, "b", "MemoryLost"), target(3, "c", "MigrationFailed")];
  expect([hadCustody(lost), hadCustody(never)]).toEqual([true, false]);
  expect(hostOfDisks([lost, never])).toBe("b");
});
