/** What the user may do, as the server reviews it: so that a button says beforehand that it would be refused. */
import { useQuery } from "@tanstack/react-query";
import { request } from "./api.ts";

interface Rule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
}

export type Can = (verb: string, resource: string) => string | undefined;

/**
 * @returns for a verb and a resource ("virtualmachines", "virtualmachines/vnc") why not, or undefined. Rules for single names
 * count as allowed, and so does everything while they are not known: the server has the last word.
 */
export function useRights(namespace: string | undefined): Can {
  const { data } = useQuery({
    queryKey: ["rights", namespace ?? ""],
    staleTime: 60_000,
    queryFn: async () => {
      const body = {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectRulesReview",
        spec: { namespace: namespace ?? "" },
      };
      const answer = await request<{ status: { resourceRules: Rule[] } }>(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        { body },
      );
      return answer.status.resourceRules;
    },
  });
  return (verb, resource) => {
    if (!data) return undefined;
    const [, sub] = resource.split("/");
    const has = (list: string[] | undefined, ...wanted: string[]) =>
      list?.some((item) => item === "*" || wanted.includes(item)) ?? false;
    const isAllowed = data.some(
      ({ verbs, apiGroups, resources }) =>
        has(verbs, verb) &&
        has(apiGroups, "vireo.dev") &&
        has(resources, resource, ...(sub ? [`*/${sub}`] : [])),
    );
    const where = namespace ? ` in the namespace ${namespace}` : "";
    return isAllowed ? undefined : `Your roles do not allow it (${verb} ${resource}${where}).`;
  };
}
