/**
 * A small etcd v3 client over gRPC: several endpoints, one used at a time, changed when it fails. Source: etcd's API reference and the
 * fail-over rules of its Go client (a read may be repeated; a write only when it was certainly not sent).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  Client,
  type ClientDuplexStream,
  connectivityState,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { OutcomeUnknown, Unavailable } from "./store.ts";

export interface EtcdOptions {
  /** "host:port" of the members. */
  endpoints: readonly string[];
  /** PEM files; with `ca` the connection is TLS. */
  tls?: { ca: string; cert?: string; key?: string };
}

/** How long one request may take on one member, and a read or a write that was not sent yet in all, ms. */
const REQUEST_MS = 5000;
const PATIENCE_MS = 10_000;
/** How long a member may take to be connected, ms. */
const CONNECT_MS = 1500;
/** Between two rounds over members of which none can be reached, ms. */
const PAUSE_MS = 100;

const CHANNEL = {
  // A member that is stopped or cut off keeps its connections open in silence. etcd closes them on pings closer than 5 s, or of a
  // connection on which nothing is asked.
  "grpc.keepalive_time_ms": 6000,
  "grpc.keepalive_timeout_ms": 2000,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // Pages of 500 objects; etcd limits what one of them may be.
  "grpc.max_receive_message_length": -1,
};

/** What etcd answers when this very request did nothing, whichever member is asked. */
const DEFINITE = [
  status.INVALID_ARGUMENT,
  status.OUT_OF_RANGE,
  status.FAILED_PRECONDITION,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.NOT_FOUND,
  status.RESOURCE_EXHAUSTED,
  status.UNIMPLEMENTED,
];

type Method = MethodDefinition<object, unknown>;
/** An unparsed answer: fields by their proto names, int64 as strings, bytes as Buffers. */
export type Answer = Record<string, unknown>;

const proto = loadSync(join(import.meta.dirname, "etcd.proto"), {
  // Without it fields of transactions are dropped silently.
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

function method(service: string, name: string): Method {
  const found: unknown = Reflect.get(proto[`etcdserverpb.${service}`] ?? {}, name);
  if (!found) throw new Error(`etcd.proto has no ${service}.${name}`);
  return found as Method; // proto-loader makes nothing else of a service
}
const METHODS = {
  Range: method("KV", "Range"),
  Put: method("KV", "Put"),
  Txn: method("KV", "Txn"),
  Compact: method("KV", "Compact"),
};
const WATCH = method("Watch", "Watch");

export const isServiceError = (error: unknown): error is ServiceError =>
  error instanceof Error && "code" in error && "details" in error;

/** A member that has lost its leader must say so: it would answer watches with silence. */
function requireLeader(): Metadata {
  const metadata = new Metadata();
  metadata.set("hasleader", "true");
  return metadata;
}

export class EtcdClient {
  readonly #members: { endpoint: string; client: Client }[];
  #current = 0;
  #closed = false;
  /** Watches, and the member each is on. */
  readonly #streams = new Map<ClientDuplexStream<object, Answer>, number>();

  constructor({ endpoints, tls }: EtcdOptions) {
    const channel = tls
      ? credentials.createSsl(
          readFileSync(tls.ca),
          tls.key ? readFileSync(tls.key) : null,
          tls.cert ? readFileSync(tls.cert) : null,
        )
      : credentials.createInsecure();
    this.#members = endpoints.map((endpoint) => ({
      endpoint,
      client: new Client(endpoint, channel, CHANNEL),
    }));
  }

  /** A request that may be repeated. @throws Unavailable; ServiceError for what etcd refuses */
  read(name: keyof typeof METHODS, request: object): Promise<Answer> {
    return this.#call(name, request, false);
  }

  /** A request that must not be done twice. @throws OutcomeUnknown, Unavailable; ServiceError for what etcd refuses */
  write(name: keyof typeof METHODS, request: object): Promise<Answer> {
    return this.#call(name, request, true);
  }

  /** Opens a watch on the member in use. It ends by `error` or `end`; the next one goes to another member. @throws Unavailable */
  async watch(request: object): Promise<ClientDuplexStream<object, Answer>> {
    const at = await this.#connected(Date.now() + PATIENCE_MS);
    const stream = this.#client(at).makeBidiStreamRequest(
      WATCH.path,
      WATCH.requestSerialize,
      // Everything in an answer is looked at before it is used.
      (bytes) => WATCH.responseDeserialize(bytes) as Answer,
      requireLeader(),
    );
    this.#streams.set(stream, at);
    for (const event of ["error", "end"])
      stream.on(event, () => {
        this.#streams.delete(stream);
        this.#leave(at);
      });
    stream.write({ create_request: request });
    return stream;
  }

  close(): void {
    this.#closed = true;
    for (const { client } of this.#members) client.close();
  }

  #client(at: number): Client {
    const member = this.#members[at];
    if (!member) throw new Error("etcd: no endpoint was given");
    return member.client;
  }

  /** The next one takes over, unless another request has seen to that already. */
  #leave(at: number): void {
    if (this.#current !== at || this.#members.length === 1) return;
    this.#current = (at + 1) % this.#members.length;
    // Its watches may be as silent as it is; they go on at the next one.
    for (const [stream, on] of this.#streams) if (on === at) stream.cancel();
  }

  async #call(name: keyof typeof METHODS, request: object, once: boolean): Promise<Answer> {
    const until = Date.now() + PATIENCE_MS;
    for (;;) {
      const at = await this.#connected(until);
      try {
        return await this.#send(at, METHODS[name], request);
      } catch (error) {
        if (!isServiceError(error) || DEFINITE.includes(error.code)) throw error;
        this.#leave(at);
        if (once) throw new OutcomeUnknown(`etcd: ${error.details}`, { cause: error });
        if (Date.now() > until) throw new Unavailable(`etcd: ${error.details}`, { cause: error });
      }
    }
  }

  #send(
    at: number,
    { path, requestSerialize, responseDeserialize }: Method,
    request: object,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#client(at).makeUnaryRequest(
        path,
        requestSerialize,
        (bytes) => responseDeserialize(bytes) as Answer,
        request,
        requireLeader(),
        { deadline: Date.now() + REQUEST_MS },
        (error, answer) => (answer ? resolve(answer) : reject(error ?? new Error("etcd: an empty answer"))),
      );
    });
  }

  /** Index of a member whose connection stands: only over such a one is anything sent. @throws Unavailable */
  async #connected(until: number): Promise<number> {
    for (;;) {
      if (this.#closed) throw new Unavailable("the store is closed");
      const at = this.#current;
      if (await this.#isReady(at)) return at;
      this.#leave(at);
      if (Date.now() > until) {
        const all = this.#members.map(({ endpoint }) => endpoint).join(", ");
        throw new Unavailable(`etcd: none of ${all} can be reached`);
      }
      if (this.#current === 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #isReady(at: number): Promise<boolean> {
    const channel = this.#client(at).getChannel();
    const deadline = Date.now() + CONNECT_MS;
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return true;
      if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) return false;
      const changed = await new Promise<boolean>((resolve) =>
        channel.watchConnectivityState(state, deadline, (error) => resolve(!error)),
      );
      if (!changed) return false;
    }
  }
}
