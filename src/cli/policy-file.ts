/** Policies of a manifest, checked as the server checks them, for those who ask what they would do. */
import { decode, finish } from "../api/prepare.ts";
import { Policy } from "../director/kinds.ts";
import { KINDS } from "../kinds.ts";
import { isApiError } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import { readDocuments } from "./manifest.ts";
import { UserError } from "./user-error.ts";

/** As nothing else is there. */
const NOTHING: Lookup = { list: () => [] };

/** What else it holds is of no account. @throws UserError naming file and line */
export async function policiesIn(file: string): Promise<Policy[]> {
  const kind = KINDS.find((one) => one.kind === Policy.kind);
  if (!kind) throw new Error("no kind Policy");
  const list = (await readDocuments(file)).flatMap(({ object, where }): Policy[] => {
    if (object.kind !== Policy.kind) return [];
    try {
      const decoded = decode(kind, object, { fieldValidation: "Strict" }, []);
      finish(kind, decoded, undefined, NOTHING);
      // Safe: it was checked against the schema of Policy just now.
      return [decoded as Policy];
    } catch (cause) {
      throw isApiError(cause) ? new UserError(`${where}: ${cause.message}`, { cause }) : cause;
    }
  });
  if (list.length === 0) throw new UserError(`${file}: holds no Policy`);
  return list;
}
