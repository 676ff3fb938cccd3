/** A text editor for YAML (CodeMirror), with what may come next at each place, and what is wrong where. */
import {
  autocompletion,
  type CompletionContext,
  type CompletionResult,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import type { Problem } from "./places.ts";

export type Complete = (text: string, position: number) => Suggestions | undefined;
export interface Suggestions {
  /** Where what they take the place of begins. */
  from: number;
  options: readonly { label: string; apply?: string; detail?: string; info?: string }[];
}

const COLORS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent-strong)" },
  { tag: [tags.string, tags.content, tags.attributeValue], color: "var(--text)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.separator, tags.punctuation, tags.squareBracket, tags.brace], color: "var(--muted)" },
]);

const LOOK = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "var(--size-s)" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "260px", maxHeight: "60vh" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { color: "var(--muted)", backgroundColor: "transparent", border: "none" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "var(--accent-ground)",
  },
  ".cm-tooltip": {
    color: "var(--text)",
    backgroundColor: "var(--surface)",
    border: "1px solid var(--line-strong)",
    borderRadius: "var(--radius)",
    overflow: "hidden",
  },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": {
    color: "var(--text)",
    background: "var(--accent-ground)",
  },
  ".cm-completionDetail": { color: "var(--muted)", fontStyle: "normal" },
  ".cm-completionInfo": { maxWidth: "360px", whiteSpace: "pre-wrap", font: "var(--size-s) var(--font)" },
  ".cm-diagnostic": { whiteSpace: "pre-wrap", fontFamily: "var(--mono)" },
});

export default function Editor({
  label,
  describedBy,
  value,
  onChange,
  problems,
  complete,
}: {
  label: string;
  describedBy: string;
  value: string;
  onChange: (text: string) => void;
  problems: readonly Problem[];
  complete: Complete;
}) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const now = useRef({ onChange, complete });
  now.current = { onChange, complete };
  // biome-ignore lint/correctness/useExhaustiveDependencies: the text is its own once it stands
  useEffect(() => {
    if (!place.current) return;
    const suggest = ({ state, pos, explicit }: CompletionContext): CompletionResult | null => {
      const found = now.current.complete(state.doc.toString(), pos);
      if (!found || found.options.length === 0) return null;
      // Unasked only once something is written: an empty line stays in peace.
      if (!explicit && found.from === pos && !/[:-] $/.test(state.sliceDoc(Math.max(0, pos - 2), pos)))
        return null;
      return { ...found, validFor: /^[\w.-]*$/ };
    };
    const made = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: value,
        extensions: [
          lineNumbers(),
          history(),
          drawSelection(),
          yaml(),
          indentUnit.of("  "),
          syntaxHighlighting(COLORS),
          autocompletion({ override: [suggest], icons: false }),
          // Tab goes on to the next control, as everywhere else.
          keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap]),
          LOOK,
          EditorView.cspNonce.of(
            document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "",
          ),
          EditorView.contentAttributes.of({
            "aria-label": label,
            "aria-describedby": describedBy,
            spellcheck: "false",
          }),
          EditorView.updateListener.of(({ docChanged, state }) => {
            if (docChanged) now.current.onChange(state.doc.toString());
          }),
        ],
      }),
    });
    view.current = made;
    return () => made.destroy();
  }, []);
  useEffect(() => {
    const made = view.current;
    if (!made) return;
    // What was said of an older text may be beyond the end of this one.
    const { length } = made.state.doc;
    made.dispatch(
      setDiagnostics(
        made.state,
        problems.map(({ from, to, message }) => ({
          from: Math.min(from, length),
          to: Math.min(to, length),
          severity: "error" as const,
          message,
        })),
      ),
    );
  }, [problems]);
  return <div ref={place} className="code" />;
}
