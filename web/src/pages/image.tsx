/** One image: how it stands, its builds with their log, what is in it, and its files to download. */
import { type ReactNode, useState } from "react";
import { isBuildOver } from "../../../src/images/shared.ts";
import { Action, Badge, size } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { tell } from "../../ui/toasts.tsx";
import type { PageProps } from "../app.tsx";
import { remove } from "../data/actions.ts";
import { toneOf } from "../data/derive.ts";
import { type ImageBuild, type Image as ImageKind, objectPath } from "../data/kinds.ts";
import { useLive, useOne } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { Builds, began, createBuild } from "../images/builds.tsx";
import { Sending } from "../images/sending.tsx";
import { Trust } from "../images/trust.tsx";
import { imageUpload } from "../images/upload.ts";
import { Versions } from "../images/versions.tsx";
import { Link, navigate } from "../router.tsx";
import { YamlEditor } from "../yaml/object.tsx";
import { Conditions } from "./conditions.tsx";
import { EventTable } from "./events.tsx";

export default function Image({ parts: [name = ""] }: PageProps) {
  const images = useOne("images", { name });
  const builds = useLive("imagebuilds");
  const image = images.items.get(name);
  const own = builds.list
    .filter(({ spec }) => spec.image === name)
    .sort((a, b) => (began(a) < began(b) ? 1 : -1));
  return (
    <Ready of={[images, builds]} what={name}>
      {() =>
        image || own.length > 0 ? (
          <Found name={name} image={image} builds={own} />
        ) : (
          <Empty isPage title={`There is no image ${name}`}>
            <p>
              <Link href="/images">All images</Link>
            </p>
          </Empty>
        )
      }
    </Ready>
  );
}

function Found({
  name,
  image,
  builds,
}: {
  name: string;
  image: ImageKind | undefined;
  builds: readonly ImageBuild[];
}) {
  const can = useRights(undefined);
  const [dialog, setDialog] = useState<ReactNode>(null);
  const phase =
    image?.status?.phase ?? (builds.some((build) => !isBuildOver(build)) ? "Building" : "None yet");
  const [tone, busy] = toneOf(phase);
  const recipe = image?.spec.recipe ?? builds[0]?.spec.recipe;
  return (
    <>
      <div className="page-head">
        <h1>
          {name}{" "}
          <Badge tone={tone} busy={busy}>
            {phase}
          </Badge>
        </h1>
        <span className="muted">image</span>
        <div className="actions">
          {image?.spec.recipe && (
            <Action
              onPress={() => navigate(`/images/new?from=${name}`)}
              whyNot={can("create", "imagebuilds")}
            >
              Change and build
            </Action>
          )}
          {recipe && (
            <Action
              onPress={() =>
                void tell(
                  createBuild(builds, { image: name, recipe, storagePool: image?.spec.storagePool }),
                  `${name} is being built`,
                )
              }
              whyNot={
                builds.some((build) => !isBuildOver(build))
                  ? "A build of it is under way."
                  : can("create", "imagebuilds")
              }
            >
              Build again
            </Action>
          )}
          {image && (
            <Action
              kind="danger"
              whyNot={can("delete", "images")}
              onPress={() =>
                setDialog(
                  <FormDialog
                    title={`Delete the image ${name}`}
                    verb="Delete it"
                    danger
                    typed={name}
                    onClose={() => setDialog(null)}
                    onSend={async () => {
                      await remove("images", image.metadata);
                      navigate("/images");
                    }}
                  >
                    <p>No machine can be made of it any more.</p>
                  </FormDialog>,
                )
              }
            >
              Delete…
            </Action>
          )}
        </div>
      </div>
      <div className="stack">
        {image?.spec.import && image.status?.phase !== "Ready" && <Arriving image={image} />}
        <Builds builds={builds} />
        {image && <Versions image={image} />}
        {image && <Content image={image} />}
        {image && <Trust image={image} builds={builds} />}
        {image && <YamlEditor plural="images" object={image} can={can} />}
        <section className="panel">
          <h2>Events</h2>
          <EventTable kind="Image" name={name} />
        </section>
      </div>
      {dialog}
    </>
  );
}

/** A disk that is brought along, until it is there. */
function Arriving({ image: { metadata, spec, status } }: { image: ImageKind }) {
  const { name } = metadata;
  const can = useRights(undefined);
  return (
    <section className="panel">
      <h2>Import</h2>
      <div className="body">
        <Sending
          label={`Import of ${name}`}
          to={imageUpload(name)}
          sha256={spec.import?.sha256}
          total={spec.import?.bytes ?? status?.import?.totalBytes ?? 0}
          received={status?.import?.receivedBytes ?? 0}
          stage={status?.progress}
          isWanted={spec.import?.url === undefined && status?.phase !== "Failed"}
          whyNot={can("create", "images/upload")}
        />
      </div>
    </section>
  );
}

function Content({ image: { metadata, spec, status } }: { image: ImageKind }) {
  const can = useRights(undefined);
  const whyNot = status?.phase === "Ready" ? can("get", "images/file") : "It is not ready.";
  const files = [
    ...(status?.file
      ? [{ name: "disk", bytes: status.allocatedBytes, sha256: status.sha256, query: "" }]
      : []),
    ...(status?.artifacts ?? []).map(({ format, bytes, sha256 }) => ({
      name: format,
      bytes,
      sha256,
      query: `?format=${format}`,
    })),
  ];
  const packages = status?.packages ?? [];
  return (
    <div className="split">
      <section className="panel">
        <h2>Image</h2>
        <dl className="facts body">
          <dt>From</dt>
          <dd>
            {spec.recipe
              ? "a recipe"
              : spec.file
                ? `the file ${spec.file} of the pool`
                : (spec.import?.url ?? "an imported file")}
          </dd>
          <dt>Pool</dt>
          <dd>{spec.storagePool}</dd>
          <dt>Disk</dt>
          <dd>
            {size(status?.virtualBytes)}, takes {size(status?.allocatedBytes)}
          </dd>
          <dt>Boots</dt>
          <dd>{status?.boot ? "with its kernel directly" : "by firmware"}</dd>
        </dl>
      </section>
      <section className="panel">
        <h2>Files</h2>
        {files.length === 0 ? (
          <p className="body muted">None yet.</p>
        ) : (
          <ul className="lines">
            {files.map(({ name, bytes, sha256, query }) => (
              <li key={name}>
                <strong>{name}</strong>
                <span className="muted">{size(bytes)}</span>
                <span className="mono muted" title={sha256}>
                  {sha256?.slice(0, 12)}
                </span>
                <span className="push">
                  {whyNot ? (
                    <Action whyNot={whyNot}>Download</Action>
                  ) : (
                    <a
                      className="button"
                      href={`${objectPath("images", metadata)}/file${query}`}
                      download
                      aria-label={`Download ${name}`}
                    >
                      Download
                    </a>
                  )}
                </span>
              </li>
            ))}
          </ul>
        )}
      </section>
      {packages.length > 0 && (
        <section className="panel">
          <h2>{packages.length} packages</h2>
          <details className="body">
            <summary>All of them</summary>
            <ul className="lines">
              {packages.map(({ name, version }) => (
                <li key={name}>
                  {name} <span className="muted">{version}</span>
                </li>
              ))}
            </ul>
          </details>
        </section>
      )}
      <Conditions conditions={status?.conditions ?? []} />
    </div>
  );
}
