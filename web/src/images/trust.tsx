/** Whether an image can be trusted: its signature, whether it is what its packages make, whether a file is one of it, and what is known against its packages. */
import { useState } from "react";
import { isBuildOver } from "../../../src/images/shared.ts";
import {
  describeReport,
  installedOf,
  lastCheck,
  lockOf,
  signatureOf,
  UNLOCKED,
  UNSIGNED,
  whyNotBuilt,
  whyNotCompared,
} from "../../../src/images/trust/standing.ts";
import type { Report } from "../../../src/images/trust/vulnerabilities.ts";
import { Action, size } from "../../ui/basics.tsx";
import { Field } from "../../ui/field.tsx";
import { tell } from "../../ui/toasts.tsx";
import { messageOf } from "../data/api.ts";
import { type Image, type ImageBuild, objectPath } from "../data/kinds.ts";
import { useRights } from "../data/rights.ts";
import { createBuild } from "./builds.tsx";
import type { Recipe } from "./draft.ts";
import { digestOf } from "./upload.ts";

export function Trust({ image, builds }: { image: Image; builds: readonly ImageBuild[] }) {
  const { metadata, spec, status } = image;
  const can = useRights(undefined);
  const lock = lockOf(status?.packages ?? []);
  const { recipe, storagePool } = spec;
  if (!recipe) return null;
  const whyNot = whyNotBuilt(image);
  if (whyNot)
    return (
      <section className="panel">
        <h2>Trust</h2>
        <p className="body muted">It {whyNot}.</p>
      </section>
    );
  const last = lastCheck(image, builds);
  const whyNotCheck =
    last && !isBuildOver(last)
      ? "It is being checked."
      : lock
        ? can("create", "imagebuilds")
        : `It ${UNLOCKED}.`;
  const path = objectPath("images", metadata);
  return (
    <>
      <section className="panel">
        <h2>Trust</h2>
        <div className="body stack">
          {signatureOf(status?.artifacts) ? (
            <p>
              <span className="badge ok">Signed</span> by this installation (Ed25519), with the digest of each
              file and package.{" "}
              {can("get", "images/file") === undefined && (
                <>
                  <a href={`${path}/file?format=signature`} download>
                    Signature
                  </a>
                  ,{" "}
                  <a href={`${path}/key`} download={`${metadata.name}.pub`}>
                    key
                  </a>
                  : <code>vireo image check FILE --signature … --key …</code> needs no installation.
                </>
              )}
            </p>
          ) : (
            <p>
              <span className="badge warn">Not signed</span> It {UNSIGNED}.
            </p>
          )}
          <div className="row">
            <Action
              whyNot={whyNotCheck}
              onPress={() =>
                void tell(
                  createBuild(builds, {
                    ...{ image: metadata.name, storagePool, recipe: { ...recipe, lock }, verify: true },
                  }),
                  `${metadata.name} is being checked: it is built again of its packages, and each file compared`,
                )
              }
            >
              Check it bit for bit
            </Action>
            {last && isBuildOver(last) && (
              <span className={last.status?.phase === "Succeeded" ? "muted" : "bad"}>
                {last.status?.phase === "Succeeded"
                  ? `It was: ${last.status.message ?? "all files are the same"}`
                  : last.status?.message}
              </span>
            )}
          </div>
          <IsOfIt image={image} />
        </div>
      </section>
      <Vulnerabilities image={image} recipe={recipe} />
    </>
  );
}

/** A file that somebody has is one of the image's, or is not: by its content. */
function IsOfIt({ image: { status } }: { image: Image }) {
  const [said, setSaid] = useState<{ text: string; tone: "ok" | "bad" | "muted" }>();
  const check = async (file: File) => {
    try {
      const digest = await digestOf(file, (at) =>
        setSaid({ text: `${size(at)} of ${size(file.size)} read`, tone: "muted" }),
      );
      const names = [
        ...(status?.sha256 === digest ? ["the disk"] : []),
        ...(status?.artifacts ?? []).flatMap(({ format, sha256 }) => (sha256 === digest ? [format] : [])),
      ];
      setSaid(
        names.length > 0
          ? { text: `${file.name} is ${names.join(", ")} of it, bit for bit.`, tone: "ok" }
          : { text: `${file.name} is none of its files: its SHA-256 is ${digest}.`, tone: "bad" },
      );
    } catch (error) {
      setSaid({ text: messageOf(error), tone: "bad" });
    }
  };
  return (
    <Field
      id="is-of-it"
      label="Is this file of the image?"
      hint="It is read here, and sent nowhere. Only the newest version is looked at."
    >
      <input
        id="is-of-it"
        type="file"
        onChange={({ target }) => {
          const file = target.files?.[0];
          if (file) void check(file);
        }}
      />
      {said && (
        <p className={said.tone === "muted" ? "muted" : `note ${said.tone}`} role="status">
          {said.text}
        </p>
      )}
    </Field>
  );
}

const TRACKER = "https://security-tracker.debian.org/tracker/data/json";
/** So many are shown; all are counted. */
const SHOWN = 500;

/** As `vireo image vulnerabilities` tells it, by the same code. */
function Vulnerabilities({ image, recipe }: { image: Image; recipe: Recipe }) {
  const { release } = recipe;
  const { status, metadata } = image;
  const packages = status?.packages ?? [];
  const [report, setReport] = useState<Report & { from: string }>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const why = whyNotCompared(image);
  const check = async (file: File) => {
    setBusy(true);
    setError(undefined);
    setReport(undefined);
    try {
      const isGzip = new Uint8Array(await file.slice(0, 2).arrayBuffer()).join() === "31,139";
      const stream = isGzip ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
      const [text, { vulnerabilities }] = await Promise.all([
        new Response(stream).text(),
        import("../../../src/images/trust/vulnerabilities.ts"),
      ]);
      setReport({ ...vulnerabilities(text, release, installedOf(packages)), from: file.name });
    } catch (caught) {
      setError(new Error(`${file.name}: ${messageOf(caught)}`));
    } finally {
      setBusy(false);
    }
  };
  const of = { name: metadata.name, release, packages: packages.length };
  const told = report && describeReport(report, of, report.from);
  return (
    <section className="panel">
      <h2>Known vulnerabilities</h2>
      <div className="body stack">
        <Field
          id="vulnerabilities"
          label="A list to compare its packages with"
          hint="Debian's security tracker data or OSV records, JSON, also gzip; it is read here, and sent nowhere."
          wrong={why && `It ${why}.`}
        >
          <input
            id="vulnerabilities"
            type="file"
            disabled={why !== undefined || busy}
            onChange={({ target }) => {
              const file = target.files?.[0];
              if (file) void check(file);
            }}
          />
        </Field>
        {!report && !error && !busy && (
          <p className="muted">
            Debian's is at{" "}
            <a href={TRACKER} rel="noreferrer">
              {TRACKER}
            </a>
            .
          </p>
        )}
        {busy && (
          <p className="muted" role="status">
            It is being read…
          </p>
        )}
        {error !== undefined && (
          <p className="note bad" role="alert">
            {messageOf(error)}
          </p>
        )}
        {told && (
          <p className={`note ${told.tone}`} role="status">
            {told.nothing ? `${report?.from} ${told.nothing}` : `${told.words}.`}
            {told.mended > 0 && ` ${told.mended} of them are mended in newer packages: build it again.`}
          </p>
        )}
        {report && report.found.length > 0 && (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
          <section className="scroll" tabIndex={0} aria-label="Vulnerabilities">
            <table>
              <thead>
                <tr>
                  <th scope="col">Package</th>
                  <th scope="col">Vulnerability</th>
                  <th scope="col">Mended in</th>
                  <th scope="col">Urgency</th>
                  <th scope="col">About</th>
                </tr>
              </thead>
              <tbody>
                {report.found.slice(0, SHOWN).map((each) => (
                  <tr key={`${each.package} ${each.id}`}>
                    <th scope="row">
                      {each.package} <span className="muted">{each.version}</span>
                    </th>
                    <td>{each.id}</td>
                    <td>{each.fixed ?? <span className="muted">nowhere yet</span>}</td>
                    <td>{each.urgency ?? <span className="muted">–</span>}</td>
                    <td className="about">{each.summary.split("\n")[0]}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
        {report && report.found.length > SHOWN && (
          <p className="muted">
            {SHOWN} of {report.found.length} are shown; <code>vireo image vulnerabilities</code> tells all.
          </p>
        )}
      </div>
    </section>
  );
}
