/** The Client of code that runs in the server's own process: the same operations without the network between. */
import { isSound, sound, soundEvent } from "../client/answers.ts";
import type { Client, List, ListOptions, NewObject, ObjectName, WatchEvent } from "../client/client.ts";
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import type { Service, User } from "./service.ts";

/** What the server's own reconcilers are to the API. */
export const CONTROL_PLANE: User = { name: "system:control-plane", groups: ["system:masters"] };

/** To be changed, and written back: without managedFields, which our own code has no use for, and which a write that leaves them out keeps. */
function copied(object: Resource): Resource {
  const { managedFields: _, ...metadata } = object.metadata;
  return structuredClone({ ...object, metadata });
}

/** Who promises not to change what he gets, gets what the server itself has: of tens of thousands of objects a copy is no small thing to make, nor to keep. */
const given = (object: Resource, shared: boolean): Resource => (shared ? object : copied(object));

export class LocalClient implements Client {
  readonly #service: Service;
  readonly #user: User;

  constructor(service: Service, user: User = CONTROL_PLANE) {
    this.#service = service;
    this.#user = user;
  }

  // The casts to T below are safe: a kind's objects all passed its schema, and T is derived from that schema. Objects
  // are copied where callers may change what they get: the server's cache must not change with it.

  async get<T extends Resource>(kind: Kind<T>, at: ObjectName): Promise<T | undefined> {
    try {
      const found = await this.#service.get(this.#served(kind), at.namespace, at.name);
      return copied(sound(kind, found)) as T;
    } catch (error) {
      if (isApiError(error, "NotFound")) return undefined;
      throw error;
    }
  }

  async list<T extends Resource>(kind: Kind<T>, options: ListOptions = {}): Promise<List<T>> {
    const { signal: _signal, shared = false, ...selection } = options;
    const { items, resourceVersion } = await this.#service.list(this.#served(kind), selection);
    const [good, skipped]: [Resource[], Resource["metadata"][]] = [[], []];
    for (const object of items)
      if (isSound(object)) good.push(given(object, shared));
      else skipped.push(object.metadata);
    return { items: good as T[], skipped, resourceVersion };
  }

  async *watch<T extends Resource>(
    kind: Kind<T>,
    options: ListOptions & { resourceVersion: string },
  ): AsyncGenerator<WatchEvent<T>> {
    const { signal, shared = false, ...request } = options;
    const queue: WatchEvent<T>[] = [];
    let wake: () => void = () => {};
    const stop = await this.#service.watch(this.#served(kind), request, (event) => {
      queue.push(
        event.type === "BOOKMARK"
          ? { type: event.type, resourceVersion: event.resourceVersion }
          : soundEvent(event.type, given(event.object, shared) as T),
      );
      wake();
    });
    const onAbort = () => wake();
    signal?.addEventListener("abort", onAbort);
    try {
      while (!signal?.aborted) {
        const event = queue.shift();
        if (event) yield event;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      stop();
    }
  }

  async create<T extends Resource>(kind: Kind<T>, object: NewObject<T>): Promise<T> {
    const { namespace } = object.metadata;
    const at = kind.namespaced ? (namespace ?? "default") : undefined;
    return this.#written(await this.#service.create(this.#served(kind), at, object, this.#options()));
  }

  async update<T extends Resource>(kind: Kind<T>, object: T): Promise<T> {
    const { namespace, name } = object.metadata;
    return this.#written(
      await this.#service.update(this.#served(kind), namespace, name, object, this.#options()),
    );
  }

  async updateStatus<T extends Resource>(kind: Kind<T>, object: T): Promise<T> {
    const { namespace, name } = object.metadata;
    const options = { ...this.#options(), subresource: "status" as const };
    return this.#written(await this.#service.update(this.#served(kind), namespace, name, object, options));
  }

  async patch<T extends Resource>(
    kind: Kind<T>,
    at: ObjectName,
    body: unknown,
    options: { subresource?: "status" } = {},
  ): Promise<T> {
    const write = {
      ...this.#options(),
      ...(options.subresource ? { subresource: options.subresource } : {}),
    };
    return this.#written(
      await this.#service.patch(this.#served(kind), at.namespace, at.name, { type: "merge", body }, write),
    );
  }

  async delete<T extends Resource>(
    kind: Kind<T>,
    at: ObjectName,
    options: { uid?: string; resourceVersion?: string } = {},
  ): Promise<void> {
    const { uid, resourceVersion } = options;
    try {
      await this.#service.delete(this.#served(kind), at.namespace, at.name, {
        user: this.#user,
        ...(uid ? { uid } : {}),
        ...(resourceVersion ? { resourceVersion } : {}),
      });
    } catch (error) {
      if (!isApiError(error, "NotFound")) throw error;
    }
  }

  #options() {
    // Our own code writing a field that the schema does not know is a bug: it must not be dropped silently.
    return { user: this.#user, fieldValidation: "Strict" as const, fieldManager: "vireo" };
  }

  #written<T extends Resource>({ object }: { object: Resource }): T {
    return copied(object) as T;
  }

  /** The kind as it is served, with its rules: rooms hand over their bare declaration. */
  #served(kind: { group: string; plural: string; kind: string }): Kind {
    const served = this.#service.kinds.find(
      ({ group, plural }) => group === kind.group && plural === kind.plural,
    );
    if (served) return served;
    throw new Error(
      `the kind ${kind.kind} (${kind.plural}.${kind.group}) is not among those that are served`,
    );
  }
}
