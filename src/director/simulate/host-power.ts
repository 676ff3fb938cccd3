/**
 * PowerPolicies in a simulation: the director's own decisions of which hosts are on (power/power.ts); what a BMC and a boot would do takes its time. All hosts are on at the
 * beginning, have passed a wake test, and come on as fast as their policy says. Pure.
 */
import type { Host } from "../../compute/hosts/kinds.ts";
import { heldForPower, pendingOf } from "../../power/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { Estate, HostView } from "../estate/estate.ts";
import { DemandShape } from "../power/demand.ts";
import { givenOut, timeZoneOf } from "../power/given-out.ts";
import type { PowerInput } from "../power/input.ts";
import { decidePower } from "../power/power.ts";
import { policyFor } from "../power/standing.ts";

type Power = NonNullable<NonNullable<Host["status"]>["power"]>;

const PASSED = { startedTime: "1970-01-01T00:00:00Z", finishedTime: "1970-01-01T00:00:00Z", passed: true };

export class SimulatedPower {
  readonly #views: readonly HostView[];
  readonly #policies: readonly PowerPolicy[];
  readonly #shapes: Map<string, DemandShape>;
  #hosts: Host[];
  /** Of the step that goes on, by host: minutes in which it was on, and of these, in which it came on. */
  #on: number[];
  #booting: number[];

  /** @param policies advise is taken for act: what it would save is the question */
  constructor(views: readonly HostView[], policies: readonly PowerPolicy[]) {
    this.#views = views;
    this.#policies = policies.map((policy) =>
      policy.spec.automation === "advise"
        ? { ...policy, spec: { ...policy.spec, automation: "act" } }
        : policy,
    );
    this.#shapes = new Map();
    this.#hosts = views.map(
      ({ name, labels }): Host => ({
        apiVersion: "vireo.dev/v1",
        kind: "Host",
        metadata: { name, ...(labels ? { labels } : {}) },
        spec: {
          bmc: { ipmi: { address: name, port: 623 }, credentials: { namespace: "default", name: "bmc" } },
        },
        status: {
          power: { state: "On", since: PASSED.startedTime, lastWakeTest: { ...PASSED, message: "" } },
        },
      }),
    );
    this.#on = views.map(() => 0);
    this.#booting = views.map(() => 0);
  }

  /** As the director sees them now. */
  hosts(): HostView[] {
    return this.#views.map((view, h) => {
      const host = this.#hosts[h] as Host;
      const closed = heldForPower(host) ?? (isComing(host) ? "it is being switched on" : undefined);
      if (!closed) return view;
      return { ...view, closed, ready: host.status?.power?.state !== "Off" && !isComing(host) };
    });
  }

  /**
   * A minute goes on. @param estateOf asked for when it is decided anew, which it is when something has changed: a host, machines, or what they use @param waiting keys of machines for which there is no host
   * @returns whether a host has come on
   */
  minute(estateOf: () => Estate, now: number, changed: boolean, waiting: readonly string[]): boolean {
    const { came, went } = this.#goOn(now);
    if (changed || came || went) this.#decide(estateOf(), now, waiting);
    for (const [h, host] of this.#hosts.entries()) {
      const coming = isComing(host);
      if (host.status?.power?.state === "Off" && !coming) continue;
      this.#on[h] = (this.#on[h] ?? 0) + 1;
      if (coming) this.#booting[h] = (this.#booting[h] ?? 0) + 1;
    }
    return came;
  }

  #decide(estate: Estate, now: number, waiting: readonly string[]): void {
    const input: PowerInput = {
      estate: { ...estate, hosts: this.hosts() },
      hosts: this.#hosts,
      policies: this.#policies,
      unread: [],
      waiting,
      expected: new Set(),
      now,
      controlPlanes: new Set(),
    };
    for (const policy of this.#policies) {
      const { name } = policy.metadata;
      const shape = this.#shapes.get(name) ?? new DemandShape(undefined, timeZoneOf(input, policy));
      this.#shapes.set(name, shape);
      shape.observe(now, givenOut(input, policy));
    }
    const ahead = (name: string, aheadMs: number) => this.#shapes.get(name)?.peak(now, aheadMs);
    for (const { host: name, power, policy, reason } of decidePower({ ...input, ahead }).wishes) {
      const since = new Date(now).toISOString();
      this.#change(name, (of) => ({ ...of, automatic: { power, since, policy, reason } }));
    }
  }

  /** Shares of the step that is over, by host; the next begins. @param minutes of a step */
  take(minutes: number): { on: number[]; booting: number[] } {
    const shares = (of: readonly number[]) => of.map((count) => Math.min(1, count / minutes));
    const taken = { on: shares(this.#on), booting: shares(this.#booting) };
    this.#on = this.#views.map(() => 0);
    this.#booting = this.#views.map(() => 0);
    return taken;
  }

  /** What was wanted before comes about: a shutdown by the next minute, a boot after its time. */
  #goOn(now: number): { came: boolean; went: boolean } {
    let [came, went] = [false, false];
    for (const host of this.#hosts) {
      const pending = pendingOf(host);
      if (!pending) continue;
      const { since, power } = pending;
      const bootMs = (policyFor(this.#policies, host)?.spec.bootSeconds ?? 0) * 1000;
      if (power === "On" && now - Date.parse(since) < bootMs) continue;
      const time = new Date(now).toISOString();
      const fulfilled = { since, finishedTime: time };
      this.#change(host.metadata.name, (of) => ({ ...of, state: power, since: time, fulfilled }));
      if (power === "On") came = true;
      else went = true;
    }
    return { came, went };
  }

  #change(name: string, change: (power: Power) => Power): void {
    this.#hosts = this.#hosts.map((host) =>
      host.metadata.name === name && host.status?.power
        ? { ...host, status: { ...host.status, power: change(host.status.power) } }
        : host,
    );
  }
}

/** One that was only on its way off is there at once. */
const isComing = (host: Host): boolean =>
  host.status?.power?.state === "Off" && pendingOf(host)?.power === "On";
