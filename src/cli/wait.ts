/** `vireo wait`: until a condition holds, a field has a value, or the object is gone. */

import { resourcePath, type ServedKind } from "../client/discovery.ts";
import { isApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import type { Resource } from "../resource/object.ts";
import { parseTemplate, valuesAt } from "./jsonpath.ts";
import {
  asResource,
  itemsOf,
  listObjects,
  openSession,
  type Place,
  parseNames,
  pathTo,
  query,
  read,
  readNamed,
  type Session,
} from "./resources.ts";
import { stoppedBy } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";

export interface WaitOptions extends Place {
  for: string;
  selector?: string;
  timeoutMs: number;
  signal: AbortSignal;
}

interface Goal {
  /** Undefined: the object must be gone. */
  reached?: (object: Resource) => boolean;
  /** What is there instead, for the error. */
  seen: (object: Resource) => string;
}

function conditionGoal(type: string, wanted: string): Goal {
  const find = (object: Resource) => {
    const conditions = isFields(object.status) ? object.status.conditions : undefined;
    const all = Array.isArray(conditions) ? conditions.filter(isFields) : [];
    return all.find((condition) => String(condition.type).toLowerCase() === type.toLowerCase());
  };
  return {
    reached: (object) => {
      const condition = find(object);
      // An observation of an older spec says nothing of this one.
      const observed =
        condition?.observedGeneration ??
        (isFields(object.status) ? object.status.observedGeneration : undefined);
      if (typeof observed === "number" && observed < (object.metadata.generation ?? 0)) return false;
      return condition !== undefined && String(condition.status).toLowerCase() === wanted.toLowerCase();
    },
    seen: (object) => {
      const condition = find(object);
      return condition
        ? `${condition.type} is ${condition.status}: ${condition.message || condition.reason}`
        : `it has no condition ${type} yet`;
    },
  };
}

/** @throws UserError */
function parseGoal(text: string): Goal {
  if (text === "delete") return { seen: () => "it is still there" };
  if (text === "create") return { reached: () => true, seen: () => "" };
  const condition = /^condition=([^=]+)(?:=(.+))?$/.exec(text);
  if (condition) return conditionGoal(condition[1] ?? "", condition[2] ?? "True");
  const jsonpath = /^jsonpath=(.+?\})(?:=(.*))?$/s.exec(text) ?? /^jsonpath=([^{}=]+)(?:=(.*))?$/s.exec(text);
  if (jsonpath) {
    const path = jsonpath[1] ?? "";
    const template = parseTemplate(path.startsWith("{") ? path : `{${path}}`);
    const wanted = jsonpath[2]?.replace(/^(['"])(.*)\1$/s, "$2");
    const values = (object: Resource) =>
      valuesAt(template, object).map((value) => (typeof value === "string" ? value : JSON.stringify(value)));
    return {
      reached: (object) => {
        const found = values(object);
        return wanted === undefined
          ? found.length > 0
          : found.length > 0 && found.every((one) => one === wanted);
      },
      seen: (object) => `${path} is ${values(object).join(", ") || "not there"}`,
    };
  }
  throw new UserError(
    `--for=${text} is not understood; say condition=Ready, condition=Ready=False, jsonpath='{.status.phase}'=Running, create or delete`,
  );
}

/** @throws UserError when the time is over, with what was seen last */
export async function wait(
  words: readonly string[],
  options: WaitOptions,
  print: (line: string) => void,
): Promise<void> {
  const goal = parseGoal(options.for);
  const session = await openSession(options);
  const deadline = Date.now() + options.timeoutMs;
  const named = parseNames(session.kinds, words);
  const targets: { kind: ServedKind; name: string; namespace?: string | undefined; object?: Resource }[] = [];
  for (const { kind, name } of named) {
    if (name !== undefined) {
      if (options.for === "create") targets.push({ kind, name });
      else if (goal.reached === undefined) {
        const object = await read(session.client, pathTo(session, { kind, name }));
        if (object) targets.push({ kind, name, object });
        else print(`${kind.singular}/${name} is gone`);
      } else targets.push({ kind, name, object: await readNamed(session, { kind, name }) });
      continue;
    }
    const items = await listObjects(session, kind, options.selector);
    if (items.length === 0) throw new UserError(`there are no ${kind.plural} to wait for`);
    for (const object of items)
      targets.push({ kind, name: object.metadata.name, namespace: object.metadata.namespace, object });
  }
  for (const { kind, name, namespace = session.namespace ?? "default", object } of targets) {
    const until = { deadline, signal: options.signal };
    if (goal.reached === undefined) {
      if (object) await untilGone(session, kind, object, until);
      print(`${kind.singular}/${name} is gone`);
    } else {
      await follow(session, kind, { name, namespace }, until, goal);
      print(`${kind.singular}/${name} ${options.for} is met`);
    }
  }
}

interface Until {
  /** Time in ms. */
  deadline: number;
  signal: AbortSignal;
}

/** Until this very object (not one made anew under its name) is gone. @throws UserError */
export async function untilGone(
  session: Session,
  kind: ServedKind,
  { metadata }: Resource,
  until: Until,
): Promise<void> {
  const gone = (object: Resource | undefined) => !object || object.metadata.uid !== metadata.uid;
  await look(session, kind, metadata, until, gone, (object) => {
    const finalizers = object?.metadata.finalizers?.join(", ");
    return object?.metadata.deletionTimestamp
      ? `it is being deleted${finalizers ? `, and ${finalizers} has yet to be done` : ""}`
      : "it is still there";
  });
}

async function follow(
  session: Session,
  kind: ServedKind,
  at: { name: string; namespace: string },
  until: Until,
  goal: Goal,
): Promise<void> {
  const reached = (object: Resource | undefined) => object !== undefined && (goal.reached?.(object) ?? false);
  await look(session, kind, at, until, reached, (object) => (object ? goal.seen(object) : "it is not there"));
}

/** Reads the object, then follows its watch, until `done`. */
async function look(
  session: Session,
  kind: ServedKind,
  at: { name: string; namespace?: string },
  { deadline, signal }: Until,
  done: (object: Resource | undefined) => boolean,
  tell: (object: Resource | undefined) => string,
): Promise<void> {
  const place = { namespace: at.namespace };
  const limited = AbortSignal.any([signal, AbortSignal.timeout(Math.max(1, deadline - Date.now()))]);
  let object: Resource | undefined;
  for (;;) {
    signal.throwIfAborted();
    const list = await session.client.request({
      method: "GET",
      path: `${resourcePath(kind, place)}${query({ fieldSelector: `metadata.name=${at.name}` })}`,
    });
    [object] = itemsOf(list);
    if (done(object)) return;
    const resourceVersion =
      isFields(list) && isFields(list.metadata) ? String(list.metadata.resourceVersion) : "";
    try {
      const stream = session.client.stream({
        method: "GET",
        path: `${resourcePath(kind, place)}${query({ fieldSelector: `metadata.name=${at.name}`, watch: "true", resourceVersion })}`,
        signal: limited,
      });
      for await (const event of stream) {
        object = event.type === "DELETED" ? undefined : asResource(event.object);
        if (done(object)) return;
      }
    } catch (error) {
      if (!isApiError(error, "Expired", "Gone")) throw error;
    }
    const what = `${kind.singular}/${at.name}`;
    if (signal.aborted) throw stoppedBy(signal, `${what} is not waited for any more; ${tell(object)}`);
    if (limited.aborted || Date.now() >= deadline)
      throw new UserError(`${what}: time is over; ${tell(object)}`);
  }
}
