/** A file that comes in parts, until it is there: how much of it has come, from here or elsewhere, and how it goes on. */
import { useId, useState } from "react";
import { Meter, size } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { messageOf } from "../data/api.ts";
import { digestOf, sendFile, useUpload } from "./upload.ts";

export function Sending({
  label,
  to,
  sha256,
  total,
  received,
  stage,
  isWanted,
  whyNot,
}: {
  label: string;
  /** As sendFile has it. */
  to: string;
  sha256: string | undefined;
  /** In bytes; 0 while nobody knows. */
  total: number;
  /** As the server says. */
  received: number;
  /** What the server does meanwhile. */
  stage?: string | undefined;
  /** It is to be sent by somebody, and the server takes it. */
  isWanted: boolean;
  /** Why this user cannot send it. */
  whyNot: string | undefined;
}) {
  const id = useId();
  const upload = useUpload(to);
  const [read, setRead] = useState<{ at: number; of: number }>();
  const [error, setError] = useState<unknown>();
  const there = upload?.sent ?? received;
  const goOn = async (file: File) => {
    setError(undefined);
    try {
      const digest = await digestOf(file, (at) => setRead({ at, of: file.size }));
      if (digest !== sha256) throw new Error(`${file.name} is another file: its SHA-256 is ${digest}.`);
      void sendFile(to, file);
    } catch (caught) {
      setError(caught);
    } finally {
      setRead(undefined);
    }
  };
  const wrong = upload?.error ?? error;
  const isSending = upload !== undefined && upload.error === undefined;
  return (
    <div className="stack">
      <Meter
        label={label}
        value={total > 0 ? there / total : 0}
        text={`${size(there)}${total > 0 ? ` of ${size(total)}` : ""}${stage ? `, ${stage}` : ""}`}
      />
      {wrong !== undefined && (
        <p className="note bad" role="alert">
          {messageOf(wrong)}
        </p>
      )}
      {upload?.trouble !== undefined && (
        <p className="note warn" role="status">
          {messageOf(upload.trouble)}. It is tried again.
        </p>
      )}
      {read ? (
        <p className="muted">
          The file is being read: {size(read.at)} of {size(read.of)}
        </p>
      ) : (
        isWanted &&
        !isSending &&
        there < total && (
          <Field
            id={id}
            label="Choose the same file to go on"
            wrong={whyNot}
            hint="Nothing is being sent from here. What has come is kept."
          >
            <input
              id={id}
              type="file"
              disabled={whyNot !== undefined}
              onChange={({ target }) => {
                const file = target.files?.[0];
                if (file) void goOn(file);
              }}
            />
          </Field>
        )
      )}
    </div>
  );
}
