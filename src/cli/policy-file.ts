/** Policies, power policies and sites of a manifest, checked as the server checks them, for those who ask what they would do. */
import { decode, finish } from "../api/prepare.ts";
import { Policy } from "../director/kinds.ts";
import { Site } from "../director/sites.ts";
import { KINDS } from "../kinds.ts";
import { PowerPolicy } from "../power/policies/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import type { Kind, Lookup } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { type Document, readDocuments } from "./manifest.ts";
import { UserError } from "./user-error.ts";

/** As nothing else is there. */
const NOTHING: Lookup = { list: () => [] };

/** What else it holds is of no account. @throws UserError naming file and line */
export async function alternativeIn(
  file: string,
): Promise<{ policies: Policy[]; sites: Site[]; powerPolicies: PowerPolicy[] }> {
  const documents = await readDocuments(file);
  const policies = ofKind(Policy, documents);
  if (policies.length === 0) throw new UserError(`${file}: holds no object of kind: Policy`);
  return { policies, sites: ofKind(Site, documents), powerPolicies: ofKind(PowerPolicy, documents) };
}

function ofKind<T extends Resource>(declared: Kind<T>, documents: readonly Document[]): T[] {
  const kind = KINDS.find((one) => one.plural === declared.plural && one.group === declared.group);
  if (!kind) throw new Error(`no kind ${declared.kind}`);
  return documents.flatMap(({ object, where }): T[] => {
    if (object.kind !== kind.kind) return [];
    try {
      const decoded = decode(kind, object, { fieldValidation: "Strict" }, []);
      finish(kind, decoded, undefined, NOTHING);
      // Safe: it was checked against the kind's schema just now.
      return [decoded as T];
    } catch (cause) {
      throw isApiError(cause) ? new UserError(`${where}: ${cause.message}`, { cause }) : cause;
    }
  });
}
