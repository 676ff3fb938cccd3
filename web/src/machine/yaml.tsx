/** An object as YAML, to be read and changed. What is written is checked by the server before it is sent (dry-run), and says what would change. */
import { useEffect, useState } from "react";
import { parse, stringify } from "yaml";
import { isResource } from "../../../src/client/answers.ts";
import { Action } from "../../ui/basics.tsx";
import { toast } from "../../ui/toasts.tsx";
import { isApiError, messageOf, request } from "../data/api.ts";
import { editable, saving } from "../data/edit.ts";
import { objectPath, type Plural, type Resource } from "../data/kinds.ts";
import type { Can } from "../data/rights.ts";

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

export function YamlEditor({ plural, object, can }: { plural: Plural; object: Resource; can: Can }) {
  const [text, setText] = useState<string>();
  const [check, setCheck] = useState(NONE);
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
  const refuse = (error: unknown) =>
    setCheck({
      state: "bad",
      text: messageOf(error),
      causes: isApiError(error) ? (error.details.causes ?? []) : [],
    });
  // biome-ignore lint/correctness/useExhaustiveDependencies: checked when the text has changed, not when the object has
  useEffect(() => {
    if (text === undefined) return;
    setCheck({ ...NONE, state: "busy" });
    let isOld = false;
    const timer = setTimeout(async () => {
      try {
        const made = await send(parse(text), true);
        const differs = [
          ...changes(object.metadata.labels ?? {}, made.metadata.labels ?? {}, "metadata.labels"),
          ...changes(
            object.metadata.annotations ?? {},
            made.metadata.annotations ?? {},
            "metadata.annotations",
          ),
          ...changes(object.spec, made.spec, "spec"),
        ];
        if (!isOld) setCheck({ state: "ok", text: differs.join("\n") || "Nothing changes.", causes: [] });
      } catch (error) {
        if (!isOld) refuse(error);
      }
    }, 400);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, [text]);
  const save = async () => {
    if (text === undefined) return;
    try {
      await send(parse(text), false);
      toast("ok", `${object.metadata.name} is changed`);
      setText(undefined);
      setCheck(NONE);
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
            <Action
              onPress={() => {
                setText(undefined);
                setCheck(NONE);
              }}
            >
              Cancel
            </Action>
            <Action
              kind="primary"
              onPress={() => void save()}
              whyNot={
                check.state === "ok"
                  ? undefined
                  : check.state === "bad"
                    ? "The server would refuse it."
                    : "It is being checked."
              }
            >
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
        <>
          <textarea
            className="yaml"
            aria-label="The object as YAML"
            aria-describedby="yaml-check"
            aria-invalid={check.state === "bad" || undefined}
            spellCheck={false}
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
          <div id="yaml-check" className="body" role="status">
            {check.state === "busy" && <span className="muted">The server checks it…</span>}
            {check.state === "ok" && <pre className="note ok">{check.text}</pre>}
            {check.state === "bad" && (
              <div className="note bad">
                {check.causes.length > 0 ? (
                  <ul>
                    {check.causes.map(({ field, message }) => (
                      <li key={field + message}>
                        <code>{field}</code> {message}
                      </li>
                    ))}
                  </ul>
                ) : (
                  check.text
                )}
              </div>
            )}
          </div>
        </>
      )}
    </section>
  );
}
