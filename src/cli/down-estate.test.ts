import { expect, it } from "vitest";
import { NO_ESTATE, whyNot } from "./down-estate.ts";

const now = new Date("2026-11-30T12:00:00Z");
const lease = (name: string, secondsAgo: number) => ({
  apiVersion: "vireo.dev/v1",
  kind: "Lease",
  metadata: { name },
  spec: {
    holder: "",
    durationSeconds: 900,
    renewTime: new Date(now.getTime() - secondsAgo * 1000).toISOString(),
  },
});
const ask = (...leases: ReturnType<typeof lease>[]) =>
  whyNot({ ...NO_ESTATE, Lease: leases }, { hosts: [], bootId: "here", now });

it("leaves a store to control planes of other machines that were heard from within their lease", () => {
  expect(ask(lease("control-plane-here", 1), lease("control-plane", 1), lease("host-a", 1))).toBeUndefined();
  expect(ask(lease("control-plane-there", 901))).toBeUndefined();
  expect(ask(lease("control-plane-there", 700), lease("control-plane-here", 1))).toMatch(
    /another machine's control plane .* \(it was heard from 700 s ago\).*`vireo down --keep`/,
  );
});
