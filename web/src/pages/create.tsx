/** A new machine. While it is described the server checks it (dry-run), and the director says where it would put it, and why. */
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { type FormEvent, Fragment, useDeferredValue, useEffect, useMemo, useState } from "react";
import type { Placed } from "../../../src/director/planning/answers.ts";
import { Field } from "../../ui/field.tsx";
import { Loading, Ready } from "../../ui/states.tsx";
import { toast } from "../../ui/toasts.tsx";
import { isApiError, messageOf, request } from "../data/api.ts";
import { apiVersionOf, collectionPath, type VirtualMachine } from "../data/kinds.ts";
import { isHidden, useBrief, useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { scope } from "../data/scope.ts";
import { placementPath, Verdicts } from "../machine/why.tsx";
import { navigate } from "../router.tsx";

interface Draft {
  name: string;
  namespace: string;
  image: string;
  cpus: string;
  memory: string;
  labels: string;
  networks: readonly string[];
  running: boolean;
}

/** "tier=web, app=shop" */
function labelsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split(/[\s,]+/)
      .filter(Boolean)
      .map((word) => {
        const [key = "", ...value] = word.split("=");
        return [key, value.join("=")];
      }),
  );
}

const objectOf = ({ name, namespace, image, cpus, memory, labels, networks, running }: Draft) => ({
  apiVersion: apiVersionOf("virtualmachines"),
  kind: "VirtualMachine",
  metadata: { name, namespace, ...(labels.trim() ? { labels: labelsOf(labels) } : {}) },
  spec: { image, cpus: Number(cpus), memory, networks, running },
});

/** What is said against each field of the form. */
const FIELDS: Readonly<Record<string, RegExp>> = {
  name: /^metadata\.name/,
  namespace: /^metadata\.namespace/,
  labels: /^metadata\.labels/,
  image: /^spec\.image/,
  cpus: /^spec\.cpus/,
  memory: /^spec\.memory/,
  networks: /^spec\.networks/,
};

export default function Create() {
  const images = useLive("images");
  const networks = useLive("networks");
  const machines = useBrief("virtualmachines");
  const [draft, setDraft] = useState<Draft>({
    name: "",
    namespace: scope || "default",
    image: "",
    cpus: "1",
    memory: "512Mi",
    labels: "",
    networks: ["default"],
    running: true,
  });
  const can = useRights(draft.namespace);
  const [sent, setSent] = useState<{ busy: boolean; error?: unknown }>({ busy: false });
  const set = (change: Partial<Draft>) => setDraft((before) => ({ ...before, ...change }));
  const first =
    images.list.find(({ status }) => status?.phase === "Ready")?.metadata.name ??
    images.list[0]?.metadata.name;
  useEffect(() => {
    if (first) setDraft((before) => (before.image ? before : { ...before, image: first }));
  }, [first]);
  const object = useDeferredValue(useMemo(() => objectOf(draft), [draft]));
  const path = collectionPath("virtualmachines", draft.namespace || "default");
  const check = useQuery({
    queryKey: ["dry-run", object],
    enabled: object.metadata.name !== "" && object.spec.image !== "",
    queryFn: async ({ signal }) => {
      // Not at each letter.
      await new Promise((resolve) => setTimeout(resolve, 250));
      signal.throwIfAborted();
      return request<VirtualMachine>("POST", `${path}?dryRun=All&fieldValidation=Strict`, {
        body: object,
        signal,
      });
    },
    placeholderData: (before) => before,
  });
  const causes = isApiError(check.error) ? (check.error.details.causes ?? []) : [];
  const wrongWith = (field: string) => causes.find((cause) => FIELDS[field]?.test(cause.field))?.message;
  const other = check.error && !Object.keys(FIELDS).some(wrongWith) ? messageOf(check.error) : undefined;
  const whyNot = can("create", "virtualmachines");
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setSent({ busy: true });
    try {
      await request("POST", `${path}?fieldValidation=Strict`, { body: objectOf(draft) });
      toast("ok", `${draft.name} is made`);
      navigate(`/machines/${draft.namespace}/${draft.name}`);
    } catch (error) {
      setSent({ busy: false, error });
    }
  };
  // Who sees one alone may not list them.
  const made = useQuery({
    queryKey: ["namespaces"],
    enabled: scope === "",
    queryFn: ({ signal }) =>
      request<{ items: { metadata: { name: string } }[] }>("GET", "/api/v1/namespaces", { signal }),
    retry: false,
  });
  const namespaces = [
    ...new Set([
      scope || "default",
      ...(made.data?.items ?? []).map(({ metadata }) => metadata.name),
      ...machines.list.map(({ metadata }) => metadata.namespace ?? ""),
    ]),
  ].sort();
  return (
    <>
      <div className="page-head">
        <h1>New machine</h1>
      </div>
      <Ready of={[images, networks].filter((list) => !isHidden(list))} what="images and networks">
        {() => (
          <form className="split" onSubmit={submit}>
            <section className="panel">
              <div className="body stack">
                <Field id="name" label="Name" wrong={draft.name ? wrongWith("name") : undefined}>
                  <input
                    id="name"
                    required
                    value={draft.name}
                    spellCheck={false}
                    autoComplete="off"
                    onChange={(event) => set({ name: event.target.value })}
                  />
                </Field>
                <Field id="namespace" label="Namespace" wrong={wrongWith("namespace")}>
                  <input
                    id="namespace"
                    list="namespaces"
                    required
                    value={draft.namespace}
                    spellCheck={false}
                    onChange={(event) => set({ namespace: event.target.value })}
                  />
                </Field>
                <datalist id="namespaces">
                  {namespaces.map((name) => (
                    <option key={name} value={name} />
                  ))}
                </datalist>
                <Field id="image" label="Image" wrong={wrongWith("image")}>
                  {isHidden(images) ? (
                    <input
                      id="image"
                      required
                      placeholder="its name, from whoever makes images"
                      value={draft.image}
                      spellCheck={false}
                      onChange={(event) => set({ image: event.target.value })}
                    />
                  ) : (
                    <select
                      id="image"
                      value={draft.image}
                      onChange={(event) => set({ image: event.target.value })}
                    >
                      {images.list.map(({ metadata, spec, status }) => (
                        <Fragment key={metadata.uid}>
                          <option value={metadata.name}>
                            {metadata.name}
                            {status?.phase === "Ready" ? "" : ` (${status?.phase ?? "Pending"})`}
                          </option>
                          {spec.channels?.map(({ name, version }) => (
                            <option key={name} value={`${metadata.name}:${name}`}>
                              {metadata.name}:{name} (version {version})
                            </option>
                          ))}
                        </Fragment>
                      ))}
                    </select>
                  )}
                </Field>
                <div className="pair">
                  <Field id="cpus" label="CPUs" wrong={wrongWith("cpus")}>
                    <input
                      id="cpus"
                      inputMode="numeric"
                      value={draft.cpus}
                      onChange={(event) => set({ cpus: event.target.value })}
                    />
                  </Field>
                  <Field
                    id="memory"
                    label="Memory"
                    hint="with a unit: 512Mi, 4Gi"
                    wrong={wrongWith("memory")}
                  >
                    <input
                      id="memory"
                      value={draft.memory}
                      onChange={(event) => set({ memory: event.target.value })}
                    />
                  </Field>
                </div>
                <Field
                  id="labels"
                  label="Labels"
                  hint="policies choose machines by them: tier=web, app=shop"
                  wrong={wrongWith("labels")}
                >
                  <input
                    id="labels"
                    value={draft.labels}
                    spellCheck={false}
                    onChange={(event) => set({ labels: event.target.value })}
                  />
                </Field>
                <fieldset className="choices">
                  <legend className="label-text">Networks</legend>
                  {networks.list.map(({ metadata, spec }) => (
                    <label key={metadata.uid}>
                      <input
                        type="checkbox"
                        checked={draft.networks.includes(metadata.name)}
                        onChange={(event) =>
                          set({
                            networks: event.target.checked
                              ? [...draft.networks, metadata.name]
                              : draft.networks.filter((name) => name !== metadata.name),
                          })
                        }
                      />
                      <span>
                        {metadata.name} <span className="muted">{spec.subnet}</span>
                      </span>
                    </label>
                  ))}
                  <label>
                    <input
                      type="checkbox"
                      checked={draft.running}
                      onChange={(event) => set({ running: event.target.checked })}
                    />
                    <span>Start it at once</span>
                  </label>
                </fieldset>
                {(other !== undefined || sent.error !== undefined) && (
                  <p className="note bad" role="alert">
                    {other ?? messageOf(sent.error)}
                  </p>
                )}
                {whyNot && <p className="note warn">{whyNot}</p>}
                <div className="row">
                  <button
                    type="submit"
                    className="button primary"
                    disabled={sent.busy || Boolean(whyNot) || !draft.name || check.isError}
                  >
                    {sent.busy ? "Making it…" : "Make the machine"}
                  </button>
                  <button type="button" className="button" onClick={() => navigate("/machines")}>
                    Cancel
                  </button>
                </div>
              </div>
            </section>
            <section className="panel" aria-live="polite">
              <h2>Where it would go</h2>
              <div className="body stack">
                <Preview vm={check.isError ? undefined : check.data} named={draft.name !== ""} />
              </div>
            </section>
          </form>
        )}
      </Ready>
    </>
  );
}

function Preview({ vm, named }: { vm: VirtualMachine | undefined; named: boolean }) {
  const object = vm && { ...vm, status: undefined };
  const { data, error } = useQuery({
    queryKey: ["preview", object],
    enabled: object !== undefined,
    queryFn: ({ signal }) =>
      request<Placed>("POST", placementPath(vm?.metadata ?? { name: "" }), { body: object, signal }),
    placeholderData: keepPreviousData,
    retry: false,
  });
  if (!vm)
    return (
      <p className="muted">
        {named
          ? "Once the server accepts it, the director says here where it would put it, and why."
          : "Give it a name; the director then says here where it would put it, and why."}
      </p>
    );
  if (error)
    return (
      <p className="muted">
        {isApiError(error, "Forbidden")
          ? "The server would take it. Where it goes is told once it is made: a look at all hosts before is for those who may see them."
          : messageOf(error)}
      </p>
    );
  if (!data) return <Loading what="the director's view" />;
  const { placement } = data;
  return (
    <>
      {placement?.host ? (
        <p className="note ok">
          On <strong>{placement.host}</strong>. {placement.reason}
        </p>
      ) : (
        <p className="note bad">No host can have it: {placement?.reason}</p>
      )}
      <Verdicts of={data} />
    </>
  );
}
