/** A disk from elsewhere becomes an image: fetched by the control plane, or sent from here. */
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Action, Meter, size } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { create } from "../data/actions.ts";
import { isApiError, messageOf } from "../data/api.ts";
import { useRights } from "../data/rights.ts";
import { digestOf, imageUpload, sendFile } from "../images/upload.ts";
import { navigate } from "../router.tsx";

const FIELDS: Readonly<Record<string, RegExp>> = {
  name: /^metadata\.name/,
  url: /^spec\.import\.url/,
  sha256: /^spec\.import\.sha256/,
};

export default function Import() {
  const can = useRights(undefined);
  const [name, setName] = useState("");
  const [from, setFrom] = useState<"url" | "file">("file");
  const [url, setUrl] = useState("");
  const [sha256, setSha256] = useState("");
  const [file, setFile] = useState<File>();
  const [read, setRead] = useState<number>();
  const [error, setError] = useState<unknown>();
  const causes = isApiError(error) ? (error.details.causes ?? []) : [];
  const wrongWith = (field: string) => causes.find((cause) => FIELDS[field]?.test(cause.field))?.message;
  const other = error !== undefined && !Object.keys(FIELDS).some(wrongWith) ? messageOf(error) : undefined;
  const whyNot =
    can("create", "images") ??
    (from === "file" ? can("create", "images/upload") : undefined) ??
    (name === ""
      ? "It has no name yet."
      : from === "file"
        ? file
          ? undefined
          : "No file is chosen."
        : url === ""
          ? "There is no address yet."
          : sha256 === ""
            ? "Its SHA-256 is needed: what is another file is refused."
            : undefined);
  const reading = useRef<AbortController>(undefined);
  useEffect(() => () => reading.current?.abort(), []);
  const send = async (event: FormEvent) => {
    event.preventDefault();
    if (whyNot || read !== undefined) return;
    setError(undefined);
    const stop = new AbortController();
    const { signal } = stop;
    reading.current = stop;
    try {
      if (from === "url")
        await create("images", "Image", { metadata: { name }, spec: { import: { url, sha256 } } });
      else if (file) {
        setRead(0);
        const digest = await digestOf(file, setRead, signal);
        signal.throwIfAborted();
        if (sha256 && sha256.toLowerCase() !== digest)
          throw new Error(`The file is another one: its SHA-256 is ${digest}.`);
        await create("images", "Image", {
          metadata: { name },
          spec: { import: { bytes: file.size, sha256: digest } },
        });
        void sendFile(imageUpload(name), file);
      }
      if (!signal.aborted) navigate(`/images/${name}`);
    } catch (caught) {
      if (signal.aborted) return;
      setError(caught);
      setRead(undefined);
    }
  };
  return (
    <form onSubmit={send}>
      <div className="page-head">
        <h1>Import an image</h1>
      </div>
      <p className="muted lead">
        A disk as qcow2, raw, VMDK, VHD, VHDX, VDI or Parallels, or a CD (ISO); also within tar, OVA, OCI,
        gzip, xz, zstd or bzip2.
      </p>
      <section className="panel narrow-form">
        <div className="body stack">
          <Field id="import-name" label="Name" wrong={wrongWith("name")}>
            <input
              id="import-name"
              required
              value={name}
              spellCheck={false}
              autoComplete="off"
              onChange={({ target }) => setName(target.value)}
            />
          </Field>
          <fieldset className="choices">
            <legend>From</legend>
            <label>
              <input type="radio" name="from" checked={from === "file"} onChange={() => setFrom("file")} />
              <span>
                A file here<span className="hint">sent in parts; it goes on where it was broken off</span>
              </span>
            </label>
            <label>
              <input type="radio" name="from" checked={from === "url"} onChange={() => setFrom("url")} />
              <span>
                An address<span className="hint">fetched by the control plane</span>
              </span>
            </label>
          </fieldset>
          {from === "file" ? (
            <Field id="import-file" label="File">
              <input id="import-file" type="file" onChange={({ target }) => setFile(target.files?.[0])} />
            </Field>
          ) : (
            <Field id="import-url" label="Address" wrong={wrongWith("url")}>
              <input
                id="import-url"
                type="url"
                placeholder="https://…"
                value={url}
                spellCheck={false}
                onChange={({ target }) => setUrl(target.value)}
              />
            </Field>
          )}
          <Field
            id="import-sha256"
            label={from === "file" ? "SHA-256, if you know it" : "SHA-256"}
            wrong={wrongWith("sha256")}
          >
            <input
              id="import-sha256"
              className="mono"
              value={sha256}
              spellCheck={false}
              autoComplete="off"
              onChange={({ target }) => setSha256(target.value.trim())}
            />
          </Field>
          {other !== undefined && (
            <p className="note bad" role="alert">
              {other}
            </p>
          )}
          {read !== undefined && file && (
            <Meter
              label="The file is being read"
              value={read / Math.max(1, file.size)}
              text={`its SHA-256 is being told: ${size(read)} of ${size(file.size)}`}
            />
          )}
          <div className="row">
            <Action kind="primary" type="submit" whyNot={whyNot}>
              {read === undefined ? "Import it" : "Reading…"}
            </Action>
            <Action onPress={() => navigate("/images")}>Cancel</Action>
          </div>
        </div>
      </section>
    </form>
  );
}
