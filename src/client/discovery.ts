/** Which kinds a server has, asked of the server itself: how clients without a kind's declaration (the CLI) find it. */
import { isFields } from "../resource/fields.ts";
import type { HttpClient } from "./http.ts";

/** A kind as discovery tells of it. */
export interface ServedKind {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  verbs: readonly string[];
}

/** The form that holds everything in two answers (apidiscovery.k8s.io/v2). */
const AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const text = (value: unknown) => (typeof value === "string" ? value : "");
const texts = (value: unknown) =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
const records = (value: unknown) => (Array.isArray(value) ? value.filter(isFields) : []);

/** All kinds of the server; the groups of their own first, the core group ("") last. @throws ApiError */
export async function discover(
  client: Pick<HttpClient, "request">,
  signal?: AbortSignal,
): Promise<ServedKind[]> {
  const read = (path: string) => client.request({ method: "GET", path, accept: AGGREGATED, signal });
  const answers = await Promise.all([read("/apis"), read("/api")]);
  return answers.flatMap((answer) =>
    records(isFields(answer) ? answer.items : undefined).flatMap((group) =>
      records(group.versions).flatMap((version) =>
        records(version.resources).map((resource) => ({
          group: isFields(group.metadata) ? text(group.metadata.name) : "",
          version: text(version.version),
          kind: isFields(resource.responseKind) ? text(resource.responseKind.kind) : "",
          plural: text(resource.resource),
          singular: text(resource.singularResource),
          shortNames: texts(resource.shortNames),
          categories: texts(resource.categories),
          namespaced: resource.scope === "Namespaced",
          verbs: texts(resource.verbs),
        })),
      ),
    ),
  );
}

/** "virtualmachines.vireo.dev"; "namespaces" in the core group. */
export const qualifiedName = ({ group, plural }: Pick<ServedKind, "group" | "plural">) =>
  group ? `${plural}.${group}` : plural;

const namesOf = (kind: ServedKind) => [kind.plural, kind.singular, ...kind.shortNames];

/** Every word by which one of the kinds can be named. */
export const wordsFor = (kinds: readonly ServedKind[]) => [...new Set(kinds.flatMap(namesOf))];

/** The kind that a user's word names: plural, singular, short name, with or without ".GROUP", in any case. */
export function findKind(kinds: readonly ServedKind[], word: string): ServedKind | undefined {
  const wanted = word.toLowerCase();
  const dot = wanted.indexOf(".");
  const [name, group] = dot === -1 ? [wanted, undefined] : [wanted.slice(0, dot), wanted.slice(dot + 1)];
  return kinds.find((kind) => namesOf(kind).includes(name) && (group === undefined || group === kind.group));
}

/** The path of a collection, or of one object in it. */
export function resourcePath(
  kind: Pick<ServedKind, "group" | "version" | "plural" | "namespaced">,
  at: { namespace?: string | undefined; name?: string | undefined; subresource?: string } = {},
): string {
  const root = kind.group ? `/apis/${kind.group}/${kind.version}` : `/api/${kind.version}`;
  const parts = [
    root,
    ...(kind.namespaced && at.namespace ? ["namespaces", encodeURIComponent(at.namespace)] : []),
    kind.plural,
    ...(at.name ? [encodeURIComponent(at.name)] : []),
    ...(at.subresource ? [at.subresource] : []),
  ];
  return parts.join("/");
}
