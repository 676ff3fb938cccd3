/** Images: what machines are made from. */
import { isBuildOver } from "../../../src/images/shared.ts";
import { Action, Badge, size } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { toneOf } from "../data/derive.ts";
import type { Image } from "../data/kinds.ts";
import { isHidden, useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { BuildProgress } from "../images/builds.tsx";
import { Link, navigate } from "../router.tsx";

const sourceOf = ({ spec }: Image) =>
  spec.recipe
    ? "built from a recipe"
    : spec.file
      ? `the file ${spec.file} of the pool ${spec.storagePool}`
      : (spec.import?.url ?? "imported");

const COLUMNS: readonly TableColumn<Image>[] = [
  {
    id: "name",
    head: "Image",
    value: ({ metadata }) => metadata.name,
    cell: ({ metadata }) => <Link href={`/images/${metadata.name}`}>{metadata.name}</Link>,
  },
  {
    id: "state",
    head: "State",
    value: ({ status }) => status?.phase ?? "Pending",
    cell: ({ status }) => {
      const [tone, busy] = toneOf(status?.phase ?? "Pending");
      return (
        <span className="row">
          <Badge tone={tone} busy={busy}>
            {status?.phase ?? "Pending"}
          </Badge>
          {status?.progress && status.phase !== "Ready" && <span className="muted">{status.progress}</span>}
        </span>
      );
    },
  },
  {
    id: "size",
    head: "Takes",
    numeric: true,
    value: ({ status }) => status?.allocatedBytes ?? 0,
    cell: ({ status }) => size(status?.allocatedBytes),
  },
  {
    id: "disk",
    head: "Disk",
    numeric: true,
    wideOnly: true,
    value: ({ status }) => status?.virtualBytes ?? 0,
    cell: ({ status }) => size(status?.virtualBytes),
  },
  {
    id: "packages",
    head: "Packages",
    numeric: true,
    wideOnly: true,
    value: ({ status }) => status?.packages?.length ?? 0,
    cell: ({ status }) => status?.packages?.length ?? <span className="muted">–</span>,
  },
  {
    id: "source",
    head: "From",
    wraps: true,
    value: sourceOf,
    cell: (image) => {
      const failed =
        image.status?.phase === "Failed" && image.status.conditions?.find(({ status }) => status === "False");
      return failed ? <span className="bad">{failed.message}</span> : sourceOf(image);
    },
  },
  {
    id: "sha",
    head: "SHA-256",
    wideOnly: true,
    value: ({ status }) => status?.sha256 ?? "",
    cell: ({ status }) => (
      <span className="mono muted" title={status?.sha256}>
        {status?.sha256?.slice(0, 12)}
      </span>
    ),
  },
];

/** Builds of images that there are not yet, too. */
function Running() {
  const builds = useLive("imagebuilds");
  const running = builds.list.filter((build) => !isBuildOver(build));
  if (running.length === 0) return null;
  return (
    <section className="panel lead">
      <ul className="lines">
        {running.map((build) => (
          <li key={build.metadata.uid}>
            <BuildProgress build={build} />
          </li>
        ))}
      </ul>
    </section>
  );
}

export default function Images() {
  const images = useLive("images");
  const can = useRights(undefined);
  if (isHidden(images))
    return (
      <>
        <div className="page-head">
          <h1>Images</h1>
        </div>
        <p className="note">
          Images are made by those who run the installation. A machine is made of one by its name: ask them
          for it.
        </p>
      </>
    );
  return (
    <>
      <div className="page-head">
        <h1>Images</h1>
        <div className="actions">
          <Action onPress={() => navigate("/images/import")} whyNot={can("create", "images")}>
            Import
          </Action>
          <Action
            kind="primary"
            onPress={() => navigate("/images/new")}
            whyNot={can("create", "imagebuilds")}
          >
            New image
          </Action>
        </div>
      </div>
      <Running />
      <Ready of={[images]} what="the images">
        {() => (
          <DataTable
            label="Images"
            rows={images.list}
            idOf={({ metadata }) => metadata.name}
            columns={COLUMNS}
            sortBy="name"
            empty={
              <Empty title="No images">
                <p>An image is built of packages, or imported as a disk from elsewhere.</p>
                <Link className="button" href="/images/new">
                  Pick packages
                </Link>
              </Empty>
            }
          />
        )}
      </Ready>
    </>
  );
}
