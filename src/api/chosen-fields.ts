/**
 * Lists and watches of parts of objects: `?fields=metadata.labels,spec.cpus,status.interfaces.address` leaves of each object these fields, and
 * what names it. For clients that show very many: of a machine a table needs a tenth. A path goes through arrays, each item of them; what an
 * object does not have is not there. Kubernetes has only all of an object or its metadata (PartialObjectMetadata), and ignores the parameter.
 */
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { shown } from "../telemetry/request-id.ts";

/** What tells one object from another, and its state from an older one. */
const ALWAYS = ["metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion"];
const PATH = /^[A-Za-z][\w-]*(\.[A-Za-z][\w-]*)*$/;
const MOST_PATHS = 100;
/** Choices whose texts are kept: pages ask for the same few again and again. */
const MOST_KEPT = 8;

type Tree = { [key: string]: Tree | true };

function cut(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => cut(item, tree));
  if (!isFields(value)) return value;
  const left: Record<string, unknown> = {};
  for (const [key, below] of Object.entries(tree))
    if (Object.hasOwn(value, key)) left[key] = below === true ? value[key] : cut(value[key], below);
  return left;
}

export class ChosenFields {
  readonly #tree: Tree = {};
  /** As that of whole objects (exchange.ts): made once, however many read it. */
  readonly #texts = new WeakMap<Resource, Buffer>();

  private constructor(paths: readonly string[]) {
    for (const path of paths) {
      let at = this.#tree;
      const keys = path.split(".");
      for (const [i, key] of keys.entries()) {
        const found = Object.hasOwn(at, key) ? at[key] : undefined;
        // All of a field that is asked for is more than a part of it.
        if (found === true) break;
        if (i === keys.length - 1) at[key] = true;
        else {
          const below = found ?? {};
          at[key] = below;
          at = below;
        }
      }
    }
  }

  static readonly #kept = new Map<string, ChosenFields>();

  /** @returns undefined: all of each object. @throws ApiError BadRequest */
  static of(query: URLSearchParams): ChosenFields | undefined {
    const text = query.get("fields");
    if (text === null) return undefined;
    const kept = ChosenFields.#kept.get(text);
    if (kept) return kept;
    const paths = text.split(",");
    const wrong = paths.find((path) => !PATH.test(path));
    if (wrong !== undefined)
      throw new ApiError(
        "BadRequest",
        `the parameter fields must be paths such as metadata.labels,spec.cpus; ${JSON.stringify(wrong.slice(0, 100))} is none`,
      );
    if (paths.length > MOST_PATHS)
      throw new ApiError(
        "BadRequest",
        `the parameter fields has ${paths.length} paths; at most ${MOST_PATHS}`,
      );
    const made = new ChosenFields([...ALWAYS, ...paths]);
    const [oldest] = ChosenFields.#kept.keys();
    if (ChosenFields.#kept.size >= MOST_KEPT && oldest !== undefined) ChosenFields.#kept.delete(oldest);
    ChosenFields.#kept.set(text, made);
    return made;
  }

  /** The JSON of what is left of an object that never changes. */
  jsonOf(kind: Kind, object: Resource): Buffer {
    const kept = this.#texts.get(object);
    if (kept) return kept;
    const made = Buffer.from(JSON.stringify(cut(shown(kind, object), this.#tree)));
    this.#texts.set(object, made);
    return made;
  }
}
