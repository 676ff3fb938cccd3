import { expect, it } from "vitest";
import type { Host } from "../compute/hosts/kinds.ts";
import { fulfilment } from "./automatic.ts";
import type { PowerStatus } from "./kinds.ts";

const BEGUN = Date.parse("2026-01-01T00:00:00Z");
const at = (seconds: number) => new Date(BEGUN + seconds * 1000).toISOString();

const host = (power: Partial<PowerStatus>, agent = "first"): Host => ({
  apiVersion: "vireo.dev/v1",
  kind: "Host",
  metadata: { name: "a" },
  spec: {},
  status: {
    agent: { version: "1", startedTime: agent },
    conditions: [{ type: "Ready", status: "True", reason: "Heard", message: "", lastTransitionTime: at(0) }],
    power: {
      state: "On",
      since: at(-100),
      automatic: { power: "On", since: at(100), policy: "frugal", reason: "needed", agent: "first" },
      ...power,
    },
  },
});
const looked = (of: Host, seconds: number) =>
  fulfilment(of, { state: "On" }, BEGUN + seconds * 1000)?.past?.at(-1)?.message;

it("one that is called while its system shuts down is not there before it is known how that ended", () => {
  // It was not asked to shut down yet.
  expect(looked(host({}), 101)).toBe("it had not gone off yet");
  const lastTask = {
    kind: "Off" as const,
    startedTime: at(0),
    finishedTime: at(300),
    generation: 1,
    succeeded: false,
    message: "it did not shut down",
  };
  const asked = host({ lastTask });
  // A slow one: it may go off at any moment, and is then to be switched on.
  expect(looked(asked, 302)).toBeUndefined();
  expect(looked(asked, 1200)).toBeUndefined();
  // It stayed on for as long as it could have taken to come back.
  expect(looked(asked, 1300)).toBe("it had not gone off yet");
  expect(asked.status?.power?.lastWakeTest).toBeUndefined();
  // It went off and came back meanwhile.
  expect(looked(host({ lastTask }, "second"), 400)).toBe("it had not gone off yet");
});
