/** An object as its users edit it, and how what they made of it is asked of the API. Pure. */
import { type Fields, isFields } from "../../../src/resource/fields.ts";
import { mergePatchOf } from "../../../src/resource/merge-patch.ts";
import { MERGE_PATCH } from "./api.ts";
import type { Resource } from "./kinds.ts";

/** What can be edited: status, finalizers and owners are Vireo's. */
export function editable({ apiVersion, kind, metadata, spec }: Resource): Fields {
  const { name, namespace, labels, annotations } = metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(labels ? { labels } : {}),
      ...(annotations ? { annotations } : {}),
    },
    spec,
  };
}

/**
 * The request that saves what a user made of `editable(base)`: only what he changed, so that all that he was not shown stays.
 * @param place its path
 * @param resourceVersion the server refuses when it is another one by then
 */
export function saving(
  place: string,
  base: Resource,
  resourceVersion: string | undefined,
  edited: Resource,
  dryRun: boolean,
) {
  const patch = mergePatchOf(editable(base), edited);
  const metadata = isFields(patch.metadata) ? patch.metadata : {};
  return {
    method: "PATCH",
    path: `${place}?fieldValidation=Strict${dryRun ? "&dryRun=All" : ""}`,
    body: { ...patch, metadata: { ...metadata, resourceVersion } },
    contentType: MERGE_PATCH,
  };
}
