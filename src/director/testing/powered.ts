/** Hosts that a PowerPolicy may switch off, for tests and bench/: as the API has them, and the policy. */
import type { Host } from "../../compute/hosts/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";

/** On for long, and woken by a test. */
export const poweredHost = (name: string): Host => ({
  apiVersion: "vireo.dev/v1",
  kind: "Host",
  metadata: { name },
  spec: { bmc: { ipmi: { address: name, port: 623 }, credentials: { namespace: "default", name: "bmc" } } },
  status: {
    power: {
      state: "On",
      since: "2025-01-01T00:00:00Z",
      lastWakeTest: { startedTime: "2025", finishedTime: "2025", passed: true, message: "" },
    },
  },
});

export const frugal = (spec: Partial<PowerPolicy["spec"]> = {}, name = "frugal"): PowerPolicy => ({
  apiVersion: "vireo.dev/v1",
  kind: "PowerPolicy",
  metadata: { name },
  spec: {
    selector: {},
    automation: "act",
    spareHosts: 1,
    minOnMinutes: 0,
    minOffMinutes: 30,
    bootSeconds: 600,
    ...spec,
  },
});
