/** Guests that take their time to freeze: qemu-ga does one thing after the other, and answers nothing meanwhile. */
import { expect, it } from "vitest";
import { systemClock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { silentLogger } from "../../reconcile/log.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { instanceOf } from "../testing/volumes.ts";
import { GuestFreeze } from "./guest-freeze.ts";

const instance = { ...instanceOf(), status: { phase: "Running" as const } };

/** A guest, and agents of ours which look after it. */
class Guest {
  frozen = false;
  /** It freezes, and answers once it has: see `done`. */
  slow = true;
  /** Commands that it knows. */
  knows = /./;
  hasAgent = true;
  readonly asked: string[] = [];
  readonly told: string[] = [];
  #busy = false;

  done(): void {
    this.#busy = false;
    this.frozen = true;
  }

  agent(): GuestFreeze {
    // Safe: what is asked of them.
    const hypervisor = {
      guestAgent: async (_: string, command: string) => this.#answer(command),
    } as unknown as Hypervisor;
    const events = {
      record: (_: unknown, type: string, reason: string) => this.told.push(`${type} ${reason}`),
    } as unknown as EventRecorder;
    return new GuestFreeze({ hypervisor, events, clock: systemClock, log: silentLogger });
  }

  #answer(command: string): unknown {
    this.asked.push(command);
    if (!this.hasAgent || this.#busy || !this.knows.test(command)) return undefined;
    if (command === "guest-fsfreeze-status") return this.frozen ? "frozen" : "thawed";
    if (command === "guest-fsfreeze-thaw") this.frozen = false;
    if (command !== "guest-fsfreeze-freeze") return 1;
    this.#busy = this.slow;
    this.frozen = !this.slow;
    return this.slow ? undefined : 1;
  }
}

it("a guest that freezes only after it was waited for is thawed once it answers, and that is told", async () => {
  const guest = new Guest();
  const freezes = guest.agent();
  expect(await freezes.freeze(instance)).toBe(false);
  await freezes.thaw(instance, false);
  expect(guest.told).toEqual(["Warning GuestFrozen"]);
  expect(await freezes.settle(instance)).toBe(true);
  // Meanwhile no other snapshot freezes it: it would be thawed in the middle.
  const asked = guest.asked.length;
  expect(await freezes.freeze(instance)).toBe(false);
  expect(guest.asked.length).toBe(asked);
  guest.done();
  expect(await freezes.settle(instance)).toBe(false);
  expect(guest.frozen).toBe(false);
  expect(guest.told).toEqual(["Warning GuestFrozen", "Normal GuestThawed"]);
  guest.slow = false;
  expect(await freezes.freeze(instance)).toBe(true);
  await freezes.thaw(instance, true);
  expect(guest.frozen).toBe(false);
  expect(guest.told.length).toBe(2);
});

it("is thawed by the next agent of ours, whenever it answers that one", async () => {
  const guest = new Guest();
  expect(await guest.agent().freeze(instance)).toBe(false);
  const next = guest.agent();
  expect(await next.settle(instance)).toBe(false);
  guest.done();
  expect(await next.settle(instance)).toBe(false);
  expect(guest.frozen).toBe(false);
  expect(guest.told).toEqual(["Warning GuestFrozen"]);
  // It has said so: it is not asked again.
  const asked = guest.asked.length;
  await next.settle(instance);
  await next.settle(instance);
  expect(guest.asked.length).toBe(asked);
});

it.each([
  { what: "without an agent", more: { hasAgent: false } },
  { what: "whose agent cannot freeze", more: { knows: /^guest-ping$/ } },
])("a guest $what is none that may be frozen", async ({ more }) => {
  const guest = new Guest();
  Object.assign(guest, more);
  const freezes = guest.agent();
  expect(await freezes.freeze(instance)).toBe(false);
  await freezes.thaw(instance, false);
  for (let look = 0; look < 30; look++) expect(await freezes.settle(instance)).toBe(false);
  // Each look would be held up by it.
  expect(guest.asked.filter((command) => command === "guest-fsfreeze-status").length).toBeLessThan(25);
  expect(guest.told).toEqual([]);
});

it("one that has told that it is frozen, and says nothing more, is asked until its run is over", async () => {
  const guest = Object.assign(new Guest(), { slow: false });
  const freezes = guest.agent();
  expect(await freezes.freeze(instance)).toBe(true);
  guest.hasAgent = false;
  await freezes.thaw(instance, true);
  expect(await freezes.settle(instance)).toBe(true);
  freezes.forget(instance);
  expect(await freezes.settle(instance)).toBe(false);
});
