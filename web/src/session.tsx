/** Who is signed in, and the page to sign in with. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { discover } from "../../src/client/discovery.ts";
import { ErrorNote, Loading } from "../ui/states.tsx";
import { isApiError, messageOf, request } from "./data/api.ts";
import { learnVersions } from "./data/kinds.ts";
import { forgetAll, queries, whenSignedOut } from "./data/live.ts";

const REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

export interface Me {
  username: string;
  groups: readonly string[];
}

/** Null: nobody is signed in. @throws ApiError */
async function whoAmI(): Promise<Me | null> {
  try {
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    const answer = await request<{ status: { userInfo: { username: string; groups?: string[] } } }>(
      "POST",
      REVIEW,
      { body },
    );
    learnVersions(
      await discover({
        request: ({ method, path, accept }) => request(method, path, accept ? { accept } : {}),
      }),
    );
    const { username, groups = [] } = answer.status.userInfo;
    return { username, groups };
  } catch (error) {
    if (isApiError(error, "Unauthorized")) return null;
    throw error;
  }
}

export const useMe = () =>
  useQuery({ queryKey: ["me"], queryFn: whoAmI, staleTime: Number.POSITIVE_INFINITY });

export async function signOut(): Promise<void> {
  await request("DELETE", "/session");
  forgetAll();
  queries.setQueryData(["me"], null);
}

/** Its children for who is signed in, else the way in. */
export function Session({ children }: { children: ReactNode }) {
  const me = useMe();
  const [ended, setEnded] = useState(false);
  useEffect(() => {
    whenSignedOut(() => {
      setEnded(true);
      forgetAll();
      queries.setQueryData(["me"], null);
    });
  }, []);
  if (me.isPending) return <Loading what="your session" />;
  if (me.isError)
    return (
      <ErrorNote title="The control plane does not answer" error={me.error} again={() => me.refetch()} />
    );
  if (me.data === null) return <SignIn ended={ended} />;
  return children;
}

function SignIn({ ended }: { ended: boolean }) {
  const [token, setToken] = useState("");
  const signIn = useMutation({
    mutationFn: () => request("POST", "/session", { body: { token: token.trim() } }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["me"] }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (token.trim()) signIn.mutate();
  };
  return (
    <main className="signin">
      <form onSubmit={submit}>
        <h1>
          <img src="/favicon.svg" alt="" width="28" height="28" /> Vireo
        </h1>
        {ended && !signIn.isError && <p role="status">Your session has ended. Sign in again.</p>}
        <label htmlFor="token">Token</label>
        <input
          id="token"
          type="password"
          autoComplete="current-password"
          spellCheck={false}
          value={token}
          onChange={(event) => setToken(event.target.value)}
          aria-describedby="token-help"
          aria-invalid={signIn.isError || undefined}
          // biome-ignore lint/a11y/noAutofocus: the one field of the page
          autoFocus
        />
        {signIn.isError && (
          <p className="bad" role="alert">
            {isApiError(signIn.error, "Unauthorized")
              ? "This token is not known here, or has run out."
              : messageOf(signIn.error)}
          </p>
        )}
        <button type="submit" className="button primary" disabled={!token.trim() || signIn.isPending}>
          {signIn.isPending ? "Signing in…" : "Sign in"}
        </button>
        <p id="token-help" className="muted">
          On a control plane <code>vireo token create NAME --group system:masters</code> prints one.
        </p>
      </form>
    </main>
  );
}
