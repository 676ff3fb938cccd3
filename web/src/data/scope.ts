/** The one namespace that is shown, for users whose roles are of one; all of them otherwise. Kept in the browser. */
const KEY = "vireo-namespace";

export const scope = localStorage.getItem(KEY) ?? "";

/** Everything is listed anew. @param namespace "": all of them */
export function setScope(namespace: string): void {
  if (namespace) localStorage.setItem(KEY, namespace);
  else localStorage.removeItem(KEY);
  location.reload();
}
