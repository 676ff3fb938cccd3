/**
 * kill -9 for tests in one process: wraps an object so that after `kill` its calls never resolve again, those that are under
 * way (their effect may or may not have happened, as in life) and those to come. A component whose Client, Hypervisor and
 * environment are killed stands still for ever at its next await, like a dead process, and a fresh one can be started beside it.
 */
export interface Killable<T> {
  readonly object: T;
  kill(): void;
}

const NEVER = new Promise<never>(() => {});

export function killable<T extends object>(target: T): Killable<T> {
  let dead = false;
  const object = new Proxy(target, {
    get(inner, property) {
      const value: unknown = Reflect.get(inner, property);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (dead) return isStream(property) ? silence() : NEVER;
        const result: unknown = value.apply(inner, args);
        if (result instanceof Promise)
          return result.then(
            (answer: unknown) => (dead ? NEVER : answer),
            (error: unknown) => (dead ? NEVER : Promise.reject(error)),
          );
        return isStream(property) ? gated(result, () => dead) : result;
      };
    },
  });
  return {
    object,
    kill: () => {
      dead = true;
    },
  };
}

const isStream = (property: string | symbol) => property === "watch";

/** A watch that never says anything. */
function silence(): AsyncIterable<never> {
  return { [Symbol.asyncIterator]: () => ({ next: () => NEVER }) };
}

async function* gated(events: unknown, isDead: () => boolean): AsyncGenerator<unknown> {
  // Only Client.watch comes here, whose type says AsyncIterable.
  for await (const event of events as AsyncIterable<unknown>) {
    if (isDead()) await NEVER;
    yield event;
  }
}
