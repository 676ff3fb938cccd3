/** An object as YAML, to be read, changed and made. What is written is checked by the server before it is sent (dry-run), and says what would change. */
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, Suspense, useEffect, useId, useMemo, useState } from "react";
import { parse, stringify } from "yaml";
import { isResource } from "../../../src/client/answers.ts";
import { readFieldDocs } from "../../../src/client/field-docs.ts";
import { Action } from "../../ui/basics.tsx";
import { Loading } from "../../ui/states.tsx";
import { toast } from "../../ui/toasts.tsx";
import { page } from "../caught.tsx";
import { isApiError, messageOf, request } from "../data/api.ts";
import { editable, saving } from "../data/edit.ts";
import { collectionPath, objectPath, type Plural, type Resource } from "../data/kinds.ts";
import type { Can } from "../data/rights.ts";
import { problemAt, syntaxProblems } from "./places.ts";
import { suggest } from "./suggest.ts";

const Editor = page(() => import("./editor.tsx"));

const textOf = ({ apiVersion, kind, metadata, spec, ...rest }: Resource): string =>
  stringify({ apiVersion, kind, metadata, spec, ...rest }, { aliasDuplicateObjects: false });

const written = ({ metadata: { labels = {}, annotations = {}, generation } }: Resource): string =>
  JSON.stringify([labels, annotations, generation]);

interface Check {
  state: "none" | "busy" | "ok" | "bad";
  text: string;
  causes: { field: string; message: string }[];
}
const NONE: Check = { state: "none", text: "", causes: [] };

/** Fields that differ, in words. */
function changes(before: unknown, after: unknown, path = ""): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (isObject(before) && isObject(after))
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      changes(before[key], after[key], path ? `${path}.${key}` : key),
    );
  const shown = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value));
  return [`${path}: ${shown(before)} → ${shown(after)}`];
}

/** What the server says of the text, as it is written. @param send asks it; what it answers is what there would be */
function useChecked(
  text: string | undefined,
  send: (edited: unknown) => Promise<Resource>,
  describe: (made: Resource) => string,
): [Check, (error: unknown) => void] {
  const [check, setCheck] = useState(NONE);
  const refuse = (error: unknown) =>
    setCheck({
      state: "bad",
      text: messageOf(error),
      causes: isApiError(error) ? (error.details.causes ?? []) : [],
    });
  // biome-ignore lint/correctness/useExhaustiveDependencies: checked when the text has changed, not when the object has
  useEffect(() => {
    if (text === undefined) {
      setCheck(NONE);
      return;
    }
    setCheck((before) => ({ ...before, state: "busy" }));
    let isOld = false;
    const timer = setTimeout(async () => {
      try {
        const made = await send(parse(text));
        if (!isOld) setCheck({ state: "ok", text: describe(made), causes: [] });
      } catch (error) {
        if (!isOld) refuse(error);
      }
    }, 300);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, [text]);
  return [check, refuse];
}

const whyNotSend = ({ state }: Check): string | undefined =>
  state === "ok" ? undefined : state === "bad" ? "The server would refuse it." : "It is being checked.";

function Editing({
  of,
  text,
  setText,
  check,
}: {
  of: Pick<Resource, "apiVersion" | "kind">;
  text: string;
  setText: (text: string) => void;
  check: Check;
}) {
  const id = useId();
  const [group = "", version = ""] = (of.apiVersion ?? "").split("/");
  const kind = of.kind ?? "";
  const docs = useQuery({
    queryKey: ["fields", of.apiVersion, kind],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: () =>
      readFieldDocs({ request: ({ method, path }) => request(method, path) }, { group, version, kind }, kind),
  });
  const problems = useMemo(() => {
    const syntax = syntaxProblems(text);
    if (syntax.length > 0) return syntax;
    return check.state === "bad" ? check.causes.map((cause) => problemAt(text, cause)) : [];
  }, [text, check]);
  return (
    <>
      <Suspense fallback={<Loading what="the editor" />}>
        <Editor
          label="The object as YAML"
          describedBy={id}
          value={text}
          onChange={setText}
          problems={problems}
          complete={(all, position) => docs.data && suggest(docs.data, all, position)}
        />
      </Suspense>
      <div id={id} className="body" role="status">
        {check.state === "busy" && <span className="muted">The server checks it…</span>}
        {check.state === "ok" && <pre className="note ok">{check.text}</pre>}
        {check.state === "bad" && (
          <div className="note bad">
            {check.causes.length > 0 ? (
              <ul>
                {check.causes.map(({ field, message }) => (
                  <li key={field + message}>
                    <code>{field}</code> <Message text={message} />
                  </li>
                ))}
              </ul>
            ) : (
              <Message text={check.text} />
            )}
          </div>
        )}
        <p className="muted small">
          Ctrl-Space tells what may come here; the server checks what is written as it is written.
        </p>
      </div>
    </>
  );
}

/** Of more than one line: they point at a place in what was written. */
const Message = ({ text }: { text: string }): ReactNode => (text.includes("\n") ? <pre>{text}</pre> : text);

export function YamlEditor({ plural, object, can }: { plural: Plural; object: Resource; can: Can }) {
  const [text, setText] = useState<string>();
  /** As it was when editing began. */
  const [base, setBase] = useState(object);
  const place = objectPath(plural, object.metadata);
  /** Status changes all the time, and is no reason to refuse; what somebody else wrote meanwhile is. */
  const send = async (edited: unknown, dryRun: boolean): Promise<Resource> => {
    if (!isResource(edited)) throw new Error("this is no object with metadata and a name");
    for (let attempt = 1; ; attempt++) {
      const now = await request<Resource>("GET", place);
      if (written(now) !== written(base))
        throw new Error("somebody else has changed it meanwhile; cancel, and edit it as it is now");
      const { method, path, ...what } = saving(place, base, now.metadata.resourceVersion, edited, dryRun);
      try {
        return await request<Resource>(method, path, what);
      } catch (error) {
        if (!isApiError(error, "Conflict") || attempt >= 5) throw error;
      }
    }
  };
  const [check, refuse] = useChecked(
    text,
    (edited) => send(edited, true),
    ({ metadata, spec }) =>
      [
        ...changes(object.metadata.labels ?? {}, metadata.labels ?? {}, "metadata.labels"),
        ...changes(object.metadata.annotations ?? {}, metadata.annotations ?? {}, "metadata.annotations"),
        ...changes(object.spec, spec, "spec"),
      ].join("\n") || "Nothing changes.",
  );
  const save = async () => {
    if (text === undefined) return;
    try {
      await send(parse(text), false);
      toast("ok", `${object.metadata.name} is changed`);
      setText(undefined);
    } catch (error) {
      refuse(error);
    }
  };
  return (
    <section className="panel">
      <header>
        <h2>YAML</h2>
        {text === undefined ? (
          <Action
            onPress={() => {
              setBase(object);
              setText(stringify(editable(object), { aliasDuplicateObjects: false }));
            }}
            whyNot={can("patch", plural)}
          >
            Edit
          </Action>
        ) : (
          <span className="row">
            <Action onPress={() => setText(undefined)}>Cancel</Action>
            <Action kind="primary" onPress={() => void save()} whyNot={whyNotSend(check)}>
              Save
            </Action>
          </span>
        )}
      </header>
      {text === undefined ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
        <pre className="yaml" tabIndex={0}>
          {textOf(object)}
        </pre>
      ) : (
        <Editing of={object} text={text} setText={setText} check={check} />
      )}
    </section>
  );
}

/** A new object, from a text to begin with. */
export function NewObject({
  plural,
  kind,
  apiVersion,
  begin,
  can,
  onMade,
}: {
  plural: Plural;
  kind: string;
  apiVersion: string;
  begin: string;
  can: Can;
  onMade: (made: Resource) => void;
}) {
  const [text, setText] = useState(begin);
  const send = (edited: unknown, dryRun: boolean): Promise<Resource> => {
    if (!isResource(edited)) throw new Error("it needs metadata with a name");
    const path = collectionPath(plural, edited.metadata.namespace);
    return request("POST", `${path}?fieldValidation=Strict${dryRun ? "&dryRun=All" : ""}`, { body: edited });
  };
  const [check, refuse] = useChecked(
    text,
    async (edited) => send(edited, true),
    ({ metadata }) => `The server would take ${metadata.name} as it is.`,
  );
  const make = async () => {
    try {
      onMade(await send(parse(text), false));
    } catch (error) {
      refuse(error);
    }
  };
  return (
    <section className="panel">
      <header>
        <h2>YAML</h2>
        <Action
          kind="primary"
          onPress={() => void make()}
          whyNot={can("create", plural) ?? whyNotSend(check)}
        >
          Make it
        </Action>
      </header>
      <Editing of={{ kind, apiVersion }} text={text} setText={setText} check={check} />
    </section>
  );
}
