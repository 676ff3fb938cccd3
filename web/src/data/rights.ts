/** What the user may do, as the server reviews it: so that a button says beforehand that it would be refused. */
import { useQueries, useQuery } from "@tanstack/react-query";
import { request } from "./api.ts";

interface Rule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
}

export type Can = (verb: string, resource: string) => string | undefined;

const rightsIn = (namespace: string) => ({
  queryKey: ["rights", namespace],
  staleTime: 60_000,
  queryFn: async () => {
    const body = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectRulesReview",
      spec: { namespace },
    };
    const answer = await request<{ status: { resourceRules: Rule[] } }>(
      "POST",
      "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
      { body },
    );
    return answer.status.resourceRules;
  },
});

const canBy =
  (rules: readonly Rule[] | undefined, namespace: string): Can =>
  (verb, resource) => {
    if (!rules) return undefined;
    const [, sub] = resource.split("/");
    const has = (list: string[] | undefined, ...wanted: string[]) =>
      list?.some((item) => item === "*" || wanted.includes(item)) ?? false;
    const isAllowed = rules.some(
      ({ verbs, apiGroups, resources }) =>
        has(verbs, verb) &&
        has(apiGroups, "vireo.dev") &&
        has(resources, resource, ...(sub ? [`*/${sub}`] : [])),
    );
    const where = namespace ? ` in the namespace ${namespace}` : "";
    return isAllowed ? undefined : `Your roles do not allow it (${verb} ${resource}${where}).`;
  };

/**
 * @param namespace undefined: of what is in none
 * @returns for a verb and a resource ("virtualmachines", "virtualmachines/vnc") why not, or undefined. Rules for single names
 * count as allowed, and so does everything while they are not known: the server has the last word.
 */
export function useRights(namespace: string | undefined): Can {
  const { data } = useQuery(rightsIn(namespace ?? ""));
  return canBy(data, namespace ?? "");
}

/** The same for things of several namespaces. */
export function useRightsOf(namespaces: readonly string[]): (namespace: string | undefined) => Can {
  const queries = useQueries({ queries: namespaces.map(rightsIn) });
  const cans = new Map(namespaces.map((namespace, i) => [namespace, canBy(queries[i]?.data, namespace)]));
  return (namespace = "") => cans.get(namespace) ?? canBy(undefined, namespace);
}
