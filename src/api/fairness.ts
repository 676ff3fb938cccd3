/**
 * One client cannot starve the others: requests take seats, of which there are so many in all and so many for one user; whoever finds none
 * waits in a queue of his own, and the queues are served in turn. When his queue is full he is told to come later (429). Watches hold
 * no seat once they run. The idea is Kubernetes' API priority and fairness, with one level and a queue for each user.
 */
import { ApiError } from "../resource/errors.ts";

export interface Limits {
  /** Seats in all. */
  total: number;
  /** Seats that one user may have at once. */
  each: number;
  /** Requests of one user that may wait. */
  waiting: number;
}

const LIMITS: Limits = { total: 128, each: 32, waiting: 200 };

interface Waiting {
  width: number;
  enter: (leave: () => void) => void;
}
interface Flow {
  used: number;
  queue: Waiting[];
}

export class Fairness {
  readonly #limits: Limits;
  /** Users with seats or waiting, in the order of their turns. */
  readonly #flows = new Map<string, Flow>();
  #used = 0;

  constructor(limits: Partial<Limits> = {}) {
    this.#limits = { ...LIMITS, ...limits };
  }

  /**
   * Resolves when the request may go on, to the function by which it gives its seats back (once or more often). `width`: seats that it
   * takes; a list costs more than a get. `over`: aborted when the request is, whether it has seats then or still waits (then this rejects).
   * @throws ApiError TooManyRequests
   */
  enter(user: string, width = 1, over?: AbortSignal): Promise<() => void> {
    const flow = this.#flows.get(user) ?? { used: 0, queue: [] };
    this.#flows.set(user, flow);
    if (flow.queue.length >= this.#limits.waiting)
      throw new ApiError(
        "TooManyRequests",
        `too many requests of ${user} at once: ${flow.queue.length} are waiting already; send fewer at a time`,
        { retryAfterSeconds: 1 },
      );
    return new Promise((resolve, reject) => {
      let leave: (() => void) | undefined;
      const waiting: Waiting = {
        width: Math.min(width, this.#limits.each),
        enter: (seats) => {
          leave = seats;
          resolve(seats);
        },
      };
      const end = () => {
        if (leave) return leave();
        flow.queue.splice(flow.queue.indexOf(waiting), 1);
        if (flow.used === 0 && flow.queue.length === 0) this.#flows.delete(user);
        reject(new ApiError("BadRequest", "the client has gone"));
        this.#serve();
      };
      flow.queue.push(waiting);
      if (over?.aborted) return end();
      over?.addEventListener("abort", end, { once: true });
      this.#serve();
    });
  }

  /** Seats taken, and requests that wait. */
  usage(): { used: number; waiting: number } {
    let waiting = 0;
    for (const { queue } of this.#flows.values()) waiting += queue.length;
    return { used: this.#used, waiting };
  }

  /** Lets in who fits: always one of the user that has the fewest seats, and of those who have as few, the one whose turn was longest ago. */
  #serve(): void {
    for (;;) {
      let next: { user: string; flow: Flow; first: Waiting } | undefined;
      for (const [user, flow] of this.#flows) {
        const [first] = flow.queue;
        if (!first || flow.used + first.width > this.#limits.each) continue;
        if (!next || flow.used < next.flow.used) next = { user, flow, first };
      }
      // The next one waits for room rather than let narrower requests of others pass for ever.
      if (!next || this.#used + next.first.width > this.#limits.total) return;
      const { user, flow, first } = next;
      flow.queue.shift();
      // To the end of the turns.
      this.#flows.delete(user);
      this.#flows.set(user, flow);
      this.#seat(user, flow, first);
    }
  }

  #seat(user: string, flow: Flow, { width, enter }: Waiting): void {
    flow.used += width;
    this.#used += width;
    let seated = true;
    enter(() => {
      if (!seated) return;
      seated = false;
      flow.used -= width;
      this.#used -= width;
      if (flow.used === 0 && flow.queue.length === 0) this.#flows.delete(user);
      this.#serve();
    });
  }
}
