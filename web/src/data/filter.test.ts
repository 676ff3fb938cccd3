/** The language of filters. */
import { describe, expect, it } from "vitest";
import { keyIn, machineFilter, withKey } from "./filter.ts";
import type { Policy, VirtualMachine } from "./kinds.ts";

const vm: VirtualMachine = {
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name: "web-1", namespace: "shop", labels: { tier: "Web" } },
  spec: {
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "default",
    networks: ["default"],
    restart: "OnFailure",
  },
  status: { phase: "Running", host: "fast-1" },
};
const policy = { metadata: { name: "web", namespace: "shop" } } as Policy;

describe("a filter", () => {
  it.each([
    ["", true],
    ["web", true],
    ["shop fast", true],
    ["state:running host:fast-1", true],
    ["STATE:Running", true],
    ["tier=web", true],
    ["policy:web", true],
    ["namespace:shop", true],
    ["db", false],
    ["web state:stopped", false],
    ["host:fast", false],
    ["tier=db", false],
    ["policy:none", false],
  ])("%j: %s", (text, meets) => {
    expect(machineFilter(text)(vm, [policy])).toBe(meets);
  });

  it("has its keys set and taken away", () => {
    expect(withKey("web state:running", "state", "failed")).toBe("web state:failed");
    expect(withKey("web state:running", "state", "")).toBe("web");
    expect(keyIn("web state:running", "state")).toBe("running");
    expect(keyIn("web", "state")).toBe("");
  });
});
