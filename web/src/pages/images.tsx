/** Images: what machines are made from. */
import { Badge, size } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { DataTable, type TableColumn } from "../../ui/table.tsx";
import { toneOf } from "../data/derive.ts";
import type { Image } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";

const sourceOf = ({ spec }: Image) =>
  spec.recipe
    ? "built from a recipe"
    : spec.file
      ? `the file ${spec.file} of the pool ${spec.storagePool}`
      : "";

const COLUMNS: readonly TableColumn<Image>[] = [
  {
    id: "name",
    head: "Image",
    value: ({ metadata }) => metadata.name,
    cell: ({ metadata }) => metadata.name,
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
          {status?.phase === "Building" && <span className="muted">{status.progress}</span>}
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

export default function Images() {
  const images = useLive("images");
  return (
    <>
      <div className="page-head">
        <h1>Images</h1>
      </div>
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
                <p>
                  An image is built from a recipe of packages, or is a file in a storage pool. Apply one with{" "}
                  <code>vireo apply -f</code>.
                </p>
              </Empty>
            }
          />
        )}
      </Ready>
    </>
  );
}
