/** Rule 9 of DESIGN: a run that is stored in a shape which cannot be read holds up what is asked of its machine, which says why, and goes on once it is mended. */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { Client } from "../src/client/client.ts";
import { overriding } from "../src/client/testing/overriding.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Migration } from "../src/compute/migrations/kinds.ts";
import { Rollback, Snapshot } from "../src/compute/snapshots/kinds.ts";
import { untilGone, untilObject } from "../src/compute/testing/control-plane.ts";
import { type Estate, NS } from "../src/compute/testing/estate.ts";
import { INVALID } from "../src/resource/invalid.ts";
import { getCondition } from "../src/resource/object.ts";
import { PretendHost } from "./support/pretend-host.ts";

let host: PretendHost;
let estate: Estate;
let odd: boolean;
const at = (name: string) => ({ name, namespace: NS });
const WHY = /instance web-1 of it is stored in a shape that cannot be read \(spec\.memory: odd\)/;

/** The API as it is, but that the machine's run cannot be read while `odd`. */
const seeingOdd = (client: Client): Client =>
  overriding(client, {
    list: async (kind, options) => {
      const answer = await client.list(kind, options);
      if (!odd || kind.kind !== Instance.kind) return answer;
      const skipped = [{ name: "web-1", annotations: { [INVALID]: "spec.memory: odd" } }];
      return { ...answer, items: [], skipped };
    },
  });

beforeEach(async () => {
  odd = false;
  host = await PretendHost.open();
  ({ estate } = host);
  await estate.createMachine("web", { readiness: {} });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
});
/** Reconcilers that begin now. */
async function setOdd(is: boolean): Promise<void> {
  odd = is;
  await estate.stopReconcilers();
  await estate.startReconcilers(seeingOdd(estate.client));
  host.startReconcilers(seeingOdd(estate.client));
}
afterEach(async () => {
  await host.close();
  expect(host.world.violations).toEqual([]);
});

it("a snapshot, a move and the deletion of its machine say so, and go on after all", async () => {
  await setOdd(true);
  await estate.client.create(Snapshot, { metadata: at("one"), spec: { vm: "web", quiesce: false } });
  await estate.client.create(Migration, { metadata: at("move"), spec: { vm: "web", to: "b" } });
  const tells = (message: string | undefined) => WHY.test(message ?? "");
  await untilObject(estate.client, Snapshot, at("one"), "told", (s) => tells(s.status?.message));
  await untilObject(estate.client, Migration, at("move"), "told", (m) => tells(m.status?.message));
  await estate.client.delete(Migration, at("move")); // its host is none
  await setOdd(false);
  await untilObject(estate.client, Snapshot, at("one"), "Ready", (s) => s.status?.phase === "Ready");
  await setOdd(true);
  await estate.client.delete(VirtualMachine, at("web"));
  const vm = await estate.vm("web", ({ status }) => status?.phase === "Unknown", "told");
  expect(getCondition(vm.status?.conditions, "Ready")).toMatchObject({
    reason: "InstanceInvalid",
    message: expect.stringMatching(/^it cannot be deleted yet: instance web-1/),
  });
  await setOdd(false);
  await untilGone(estate.client, VirtualMachine, at("web"));
});

it("a rollback whose snapshot is gone after it was claimed ends, and lets go of the disks", async () => {
  await estate.client.create(Snapshot, { metadata: at("one"), spec: { vm: "web", quiesce: false } });
  await untilObject(estate.client, Snapshot, at("one"), "Ready", (s) => s.status?.phase === "Ready");
  await estate.vm("web", (vm) => !vm.status?.disksBusy, "free");
  let hidden = false;
  const { client } = estate;
  const blind = overriding(client, {
    list: async (kind, options) => {
      const answer = await client.list(kind, options);
      const claimed = (await client.get(VirtualMachine, at("web")))?.status?.disksBusy?.action === "Rollback";
      hidden ||= claimed;
      return kind.kind === Snapshot.kind && claimed ? { ...answer, items: [] } : answer;
    },
  });
  host.startReconcilers(blind);
  await estate.client.create(Rollback, {
    metadata: at("back"),
    spec: { vm: "web", snapshot: "one", keep: true, memory: false },
  });
  const failed = await untilObject(
    estate.client,
    Rollback,
    at("back"),
    "Failed",
    (r) => r.status?.phase === "Failed",
  );
  expect(hidden).toBe(true);
  expect(failed.status?.message).toContain("is gone");
  await estate.vm("web", (vm) => !vm.status?.disksBusy && vm.status?.phase === "Running", "free");
});
