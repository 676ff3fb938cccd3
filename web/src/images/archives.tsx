/** The tar archives of a recipe: chosen here, read and looked at at once, sent when the build is made. */
import { useEffect, useRef } from "react";
import { membersIn } from "../../../src/images/import/tar-headers.ts";
import { MAX_ARCHIVE_BYTES, MAX_ARCHIVE_MEMBERS } from "../../../src/images/shared.ts";
import { Action, Meter, size } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { messageOf } from "../data/api.ts";
import type { Draft, DraftArchive } from "./draft.ts";
import { digestOf } from "./upload.ts";

/** Headers of small files are side by side. */
const AHEAD_BYTES = 64 * 2 ** 10;

function reader(file: Blob): (at: number, length: number) => Promise<Uint8Array> {
  let [from, ahead] = [0, new Uint8Array()];
  return async (at, length) => {
    if (at < from || at + length > from + ahead.length) {
      from = at;
      ahead = new Uint8Array(await file.slice(at, at + Math.max(length, AHEAD_BYTES)).arrayBuffer());
    }
    return ahead.subarray(at - from, at - from + length);
  };
}

/** As the recipe may call it, and no other is called. */
function nameFor(file: string, others: readonly DraftArchive[]): string {
  const name = file.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "archive.tar";
  const [, stem = "", end = ""] = /^(.*?)(\.[^.]*)?$/.exec(name.slice(-190)) ?? [];
  for (let i = 1; ; i++) {
    const free = i === 1 ? `${stem}${end}` : `${stem}-${i}${end}`;
    if (!others.some((other) => other.file === free)) return free;
  }
}

/** Why the build cannot begin yet. */
export function whyNotSent(archives: readonly DraftArchive[]): string | undefined {
  const wrong = archives.find((each) => each.wrong !== undefined);
  if (wrong) return `${wrong.file} cannot be sent: take it out.`;
  const reading = archives.find((each) => each.sha256 === undefined);
  return reading && `${reading.file} is still being read.`;
}

export function Archives({
  archives,
  setDraft,
  whyNot,
}: {
  archives: readonly DraftArchive[];
  setDraft: (change: (draft: Draft) => Draft) => void;
  /** Why this user cannot send any. */
  whyNot: string | undefined;
}) {
  const reading = useRef(new Map<File, AbortController>());
  useEffect(() => {
    const all = reading.current;
    return () => {
      for (const stop of all.values()) stop.abort();
    };
  }, []);
  const change = (from: File, what: Partial<DraftArchive>) =>
    setDraft((draft) => ({
      ...draft,
      archives: draft.archives.map((each) => (each.from === from ? { ...each, ...what } : each)),
    }));
  const add = async (from: File) => {
    const stop = new AbortController();
    reading.current.set(from, stop);
    setDraft((draft) => ({
      ...draft,
      archives: [
        ...draft.archives,
        { file: nameFor(from.name, draft.archives), path: "", bytes: from.size, from },
      ],
    }));
    try {
      if (from.size > MAX_ARCHIVE_BYTES)
        throw new Error(`has ${size(from.size)}; ${size(MAX_ARCHIVE_BYTES)} is the most`);
      if (from.size === 0) throw new Error("is empty");
      await membersIn(reader(from), from.size, MAX_ARCHIVE_MEMBERS);
      const sha256 = await digestOf(from, (readBytes) => change(from, { readBytes }), stop.signal);
      change(from, { sha256 });
    } catch (error) {
      if (!stop.signal.aborted) change(from, { wrong: messageOf(error) });
    } finally {
      reading.current.delete(from);
    }
  };
  const take = (archive: DraftArchive) => {
    if (archive.from) reading.current.get(archive.from)?.abort();
    setDraft((draft) => ({ ...draft, archives: draft.archives.filter(({ file }) => file !== archive.file) }));
  };
  return (
    <div className="stack">
      <Field
        id="image-archive"
        label="Add a tar archive"
        hint={`Files for the image, such as your application's folder; not compressed, ${size(MAX_ARCHIVE_BYTES)} at most. It is sent when the build is made.`}
        wrong={whyNot}
      >
        <input
          id="image-archive"
          type="file"
          accept=".tar,application/x-tar"
          disabled={whyNot !== undefined}
          onChange={({ target }) => {
            const file = target.files?.[0];
            // The same one may be chosen again.
            target.value = "";
            if (file) void add(file);
          }}
        />
      </Field>
      {archives.map((archive) => {
        const { file, path, bytes, sha256, readBytes = 0, wrong } = archive;
        return (
          <div key={file} className="stack archive">
            <div className="row">
              <strong>{file}</strong>
              <span className="muted">{size(bytes)}</span>
              <span className="push">
                <Action onPress={() => take(archive)} label={`Take out ${file}`}>
                  Take out
                </Action>
              </span>
            </div>
            {wrong !== undefined ? (
              <p className="note bad" role="alert">
                {file} {wrong}.
              </p>
            ) : (
              sha256 === undefined && (
                <Meter
                  label={`${file} is being read`}
                  value={readBytes / Math.max(1, bytes)}
                  text={`being read: ${size(readBytes)} of ${size(bytes)}`}
                />
              )
            )}
            {wrong === undefined && (
              <Field id={`path-${file}`} label={`Folder of the image that ${file} is unpacked in`}>
                <input
                  id={`path-${file}`}
                  placeholder="/"
                  spellCheck={false}
                  autoComplete="off"
                  value={path}
                  onChange={({ target }) =>
                    setDraft((draft) => ({
                      ...draft,
                      archives: draft.archives.map((each) =>
                        each.file === file ? { ...each, path: target.value } : each,
                      ),
                    }))
                  }
                />
              </Field>
            )}
          </div>
        );
      })}
    </div>
  );
}
