/** A client in which some calls are others, for tests of what goes wrong: what is read is old, what is written fails. */
import type { Client } from "../client.ts";

/** The rest goes to `client` itself, which knows nothing of the others. */
export function overriding<T extends Client>(client: T, others: Partial<Client>): T {
  return new Proxy(client, {
    get: (target, key) => {
      const other: unknown = Reflect.get(others, key);
      if (other !== undefined) return other;
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

type Calls = Exclude<keyof Client, "watch">;

/** A client each of whose calls, but watches, goes through `gate`, which makes it or does not. */
export function through<T extends Client>(
  client: T,
  gate: <R>(call: () => Promise<R>, method: Calls) => Promise<R>,
): T {
  return overriding(client, {
    get: (...all) => gate(() => client.get(...all), "get"),
    list: (...all) => gate(() => client.list(...all), "list"),
    create: (...all) => gate(() => client.create(...all), "create"),
    update: (...all) => gate(() => client.update(...all), "update"),
    updateStatus: (...all) => gate(() => client.updateStatus(...all), "updateStatus"),
    patch: (...all) => gate(() => client.patch(...all), "patch"),
    delete: (...all) => gate(() => client.delete(...all), "delete"),
  });
}
