/** The operations on a real store with one small kind, for tests of their semantics. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { Lease } from "../../reconcile/kinds.ts";
import { ApiError } from "../../resource/errors.ts";
import {
  AS_SET,
  Conditions,
  defineKind,
  type Kind,
  keyedBy,
  type ObjectOf,
  Quantity,
  register,
  Words,
} from "../../resource/kind.ts";
import type { ObjectMeta } from "../../resource/object.ts";
import { openSqliteStore } from "../../store/sqlite.ts";
import type { Store } from "../../store/store.ts";
import { LocalClient } from "../local.ts";
import { Operations } from "../operations.ts";

export const Machine = defineKind({
  kind: "Machine",
  plural: "machines",
  namespaced: true,
  description: "A machine, for these tests.",
  spec: Type.Object({
    memory: Quantity({ description: "Memory.", minimum: 2 ** 20, maximum: 2 ** 40 }),
    mode: Words(["a", "b"], { default: "a" }),
    disks: Type.Optional(
      Type.Array(Type.Object({ name: Type.String(), size: Type.Optional(Type.Integer()) }), keyedBy("name")),
    ),
    tags: Type.Optional(Type.Array(Type.String(), AS_SET)),
    ports: Type.Optional(
      Type.Array(
        Type.Object({ number: Type.Integer(), protocol: Words(["tcp", "udp"], { default: "tcp" }) }),
        {
          "x-kubernetes-list-type": "atomic",
        },
      ),
    ),
  }),
  status: Type.Object({ phase: Type.Optional(Type.String()), conditions: Type.Optional(Conditions) }),
  columns: [],
  selectableFields: ["status.phase"],
});
export type Machine = ObjectOf<typeof Machine>;

/** A kind with a number of replicas: what `scale` is tested on. */
export const MachineSet = defineKind({
  kind: "MachineSet",
  plural: "machinesets",
  shortNames: ["ms"],
  namespaced: true,
  description: "A set of machines, for these tests.",
  spec: Type.Object({
    replicas: Type.Integer({ default: 1, minimum: 0, maximum: 100, description: "How many machines." }),
    template: Type.Optional(Type.Object({ memory: Type.String() })),
  }),
  status: Type.Object({
    replicas: Type.Optional(Type.Integer()),
    selector: Type.Optional(Type.String()),
    conditions: Type.Optional(Conditions),
  }),
  scale: { replicas: ".spec.replicas", statusReplicas: ".status.replicas", selector: ".status.selector" },
  columns: [{ name: "Desired", type: "integer", jsonPath: ".spec.replicas" }],
});

export const user = { name: "tester", groups: [] };
export const machineKind: Kind = register(Machine);
export const at = (name: string) => ({ name, namespace: "default" });

export interface MachineStack {
  store: Store;
  operations: Operations;
  client: LocalClient;
  create(
    name: string,
    more?: { metadata?: Partial<ObjectMeta>; spec?: { memory: string } },
  ): Promise<Machine>;
  /** Closes all and opens it again on the same file, with other rules if they are given. */
  restart(check?: Kind<Machine>["check"]): Promise<void>;
  remove(): Promise<void>;
}

export async function openMachines(check?: Kind<Machine>["check"], now?: () => Date): Promise<MachineStack> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-operations-"));
  const open = async (rules: Kind<Machine>["check"]) => {
    const store = await openSqliteStore(join(folder, "store.sqlite"));
    const kinds = [register(Machine, rules ? { check: rules } : {}), register(Lease)];
    const operations = await Operations.open(store, kinds, now ? { now } : {});
    return { store, operations, client: new LocalClient(operations) };
  };
  const stack: MachineStack = {
    ...(await open(check)),
    create: (name, { metadata, spec } = {}) =>
      stack.client.create(Machine, {
        metadata: { ...at(name), ...metadata },
        spec: spec ?? { memory: "64Mi" },
      }),
    async restart(rules) {
      await stack.operations.close();
      await stack.store.close();
      Object.assign(stack, await open(rules));
    },
    async remove() {
      await stack.operations.close();
      await stack.store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return stack;
}

/** The ApiError that the promise has to fail with. */
export async function failure(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof ApiError)) throw new Error(`expected an ApiError, got ${String(error)}`);
  return error;
}
