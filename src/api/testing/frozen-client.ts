/** The client of reconcilers in tests: what readers share cannot be changed, so that whoever tries fails there and then, and not another reader later. */
import type { List, ListOptions, WatchEvent } from "../../client/client.ts";
import type { Kind } from "../../resource/kind.ts";
import type { Resource } from "../../resource/object.ts";
import { LocalClient } from "../local.ts";

export class FrozenClient extends LocalClient {
  override async list<T extends Resource>(kind: Kind<T>, options: ListOptions = {}): Promise<List<T>> {
    const list = await super.list(kind, options);
    if (options.shared) freeze(list.items);
    return list;
  }

  override async *watch<T extends Resource>(
    kind: Kind<T>,
    options: ListOptions & { resourceVersion: string },
  ): AsyncGenerator<WatchEvent<T>> {
    for await (const event of super.watch(kind, options)) {
      if (options.shared && "object" in event) freeze(event.object);
      yield event;
    }
  }
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const each of Object.values(value)) freeze(each);
}
