/** The client over TLS: what agents, reconcilers in a process of their own, and the CLI use. What happens to a request: connection.ts. */
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { listFromAnswer, rawEventFrom, resourceFromAnswer, sound, watchEventFrom } from "./answers.ts";
import type { Client, List, ListOptions, NewObject, ObjectName, PatchOptions, WatchEvent } from "./client.ts";
import { type Call, Connection, type ConnectionOptions, type FilePart, type Way } from "./connection.ts";
import { lines } from "./lines.ts";
import { collectionOf, pathOf, queryOf, selection } from "./paths.ts";

export class HttpClient implements Client {
  /** By which writes are recorded. */
  readonly #name: string;
  readonly #connection: Connection;

  constructor(options: ConnectionOptions) {
    this.#name = options.name ?? "vireo";
    this.#connection = new Connection(options);
  }

  /** How to come to the control plane otherwise (websocket.ts): its addresses, the one in use first, and what is shown to it. */
  get way(): Way {
    return this.#connection.way;
  }

  /** New connections show this certificate; what runs on the present ones goes on. */
  setCertificate(certificate: { cert: string; key: string }): void {
    this.#connection.setCertificate(certificate);
  }

  /** Closes idle connections; running requests and watches end with an error. */
  close(): void {
    this.#connection.close();
  }

  async get<T extends Resource>(kind: Kind<T>, at: ObjectName, signal?: AbortSignal): Promise<T | undefined> {
    try {
      const answer = await this.#connection.json({ method: "GET", path: pathOf(kind, at), signal });
      return sound(kind, resourceFromAnswer(kind, answer));
    } catch (error) {
      if (isMissingObject(error)) return undefined;
      throw error;
    }
  }

  async list<T extends Resource>(kind: Kind<T>, options: ListOptions = {}): Promise<List<T>> {
    const path = `${collectionOf(kind, options.namespace)}${queryOf(selection(options))}`;
    return listFromAnswer(kind, await this.#connection.json({ method: "GET", path, signal: options.signal }));
  }

  async *watch<T extends Resource>(
    kind: Kind<T>,
    options: ListOptions & { resourceVersion: string },
  ): AsyncGenerator<WatchEvent<T>> {
    const query = {
      ...selection(options),
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: options.resourceVersion,
    };
    const path = `${collectionOf(kind, options.namespace)}${queryOf(query)}`;
    for await (const line of this.#connection.watched({ method: "GET", path, signal: options.signal }))
      yield watchEventFrom(kind, line);
  }

  /**
   * A watch in HTTP's own words: every event as it came. Ends when the server ends it or the signal aborts.
   * @throws ApiError, also for an ERROR event
   */
  async *stream(call: Call): AsyncGenerator<{ type: string; object: unknown }> {
    for await (const line of this.#connection.watched(call)) yield rawEventFrom(line);
  }

  async create<T extends Resource>(kind: Kind<T>, object: NewObject<T>, signal?: AbortSignal): Promise<T> {
    const { group, version, kind: name } = kind;
    const body = { apiVersion: group ? `${group}/${version}` : version, kind: name, ...object };
    const path = `${collectionOf(kind, object.metadata.namespace)}${this.#write()}`;
    return resourceFromAnswer(kind, await this.#connection.json({ method: "POST", path, body, signal }));
  }

  async update<T extends Resource>(kind: Kind<T>, object: T, signal?: AbortSignal): Promise<T> {
    const path = `${pathOf(kind, object.metadata)}${this.#write()}`;
    return resourceFromAnswer(
      kind,
      await this.#connection.json({ method: "PUT", path, body: object, signal }),
    );
  }

  async updateStatus<T extends Resource>(kind: Kind<T>, object: T, signal?: AbortSignal): Promise<T> {
    const path = `${pathOf(kind, object.metadata)}/status${this.#write()}`;
    return resourceFromAnswer(
      kind,
      await this.#connection.json({ method: "PUT", path, body: object, signal }),
    );
  }

  async patch<T extends Resource>(
    kind: Kind<T>,
    at: ObjectName,
    patch: unknown,
    options: PatchOptions = {},
  ): Promise<T> {
    const path = `${pathOf(kind, at)}${options.subresource ? `/${options.subresource}` : ""}${this.#write()}`;
    return resourceFromAnswer(
      kind,
      await this.#connection.json({
        method: "PATCH",
        path,
        body: patch,
        contentType: "application/merge-patch+json",
        signal: options.signal,
        urgent: options.urgent,
      }),
    );
  }

  async delete<T extends Resource>(
    kind: Kind<T>,
    at: ObjectName,
    options: { uid?: string; resourceVersion?: string; signal?: AbortSignal } = {},
  ): Promise<void> {
    const preconditions = {
      ...(options.uid ? { uid: options.uid } : {}),
      ...(options.resourceVersion ? { resourceVersion: options.resourceVersion } : {}),
    };
    const body = {
      kind: "DeleteOptions",
      apiVersion: "v1",
      ...(Object.keys(preconditions).length ? { preconditions } : {}),
    };
    try {
      await this.#connection.json({ method: "DELETE", path: pathOf(kind, at), body, signal: options.signal });
    } catch (error) {
      if (!isMissingObject(error)) throw error;
    }
  }

  /** A page that is no resource: enrolment, readiness. @returns the parsed JSON. */
  async raw(method: "GET" | "POST", path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
    return this.request({ method, path, body, signal });
  }

  /** Any request. @returns the parsed JSON of the answer. @throws ApiError */
  request(call: Call): Promise<unknown> {
    return this.#connection.json(call);
  }

  /** A page of lines, such as a backup, as they come. @throws ApiError */
  async *lines(path: string): AsyncGenerator<string> {
    yield* lines(this.#connection.bytes(path));
  }

  /** So many bytes of a file, from the first that is named on. @throws ApiError */
  part(path: string, first: number, bytes: number, signal?: AbortSignal): Promise<FilePart> {
    return this.#connection.part(path, first, bytes, signal);
  }

  /** A page that is no JSON, as it comes, however long it takes; ends when the signal aborts. @throws ApiError */
  bytes(path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
    return this.#connection.bytes(path, signal);
  }

  #write(): string {
    return queryOf({ fieldManager: this.#name, fieldValidation: "Strict" });
  }
}

/** A missing object, not a page that this server does not have (then the server is another version: an error). */
function isMissingObject(error: unknown): boolean {
  return isApiError(error, "NotFound") && error.details.name !== undefined;
}
