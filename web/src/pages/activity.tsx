/** All that runs, and what came of what ran: moves, snapshots, rollbacks, builds of images. */
import { useMemo } from "react";
import { isBuildOver } from "../../../src/images/shared.ts";
import { Ago, Badge, duration, Running, size } from "../../ui/basics.tsx";
import { Ready } from "../../ui/states.tsx";
import { tell } from "../../ui/toasts.tsx";
import { patch, removeAsItIs } from "../data/actions.ts";
import { whyNotCallOffRollback, whyNotCallOffSnapshot } from "../data/calloff.ts";
import { isOver, toneOf } from "../data/derive.ts";
import type { ImageBuild, Migration, Rollback, Snapshot } from "../data/kinds.ts";
import { isHidden, useLive } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { BuildProgress } from "../images/builds.tsx";
import { Link } from "../router.tsx";
import { EventTable } from "./events.tsx";

interface Task {
  id: string;
  what: string;
  machine: string | undefined;
  href: string;
  phase: string;
  running: boolean;
  failed: boolean;
  began: string;
  ended: string | undefined;
  message: string;
  migration?: Migration;
  build?: ImageBuild;
  disks?: { plural: "snapshots"; object: Snapshot } | { plural: "rollbacks"; object: Rollback };
}

interface Sent {
  transferredBytes?: number;
  remainingBytes?: number;
}

/** How much of it is sent, 0 to 1; undefined while nothing is. */
function shareOf({ transferredBytes = 0, remainingBytes = 0 }: Sent = {}): number | undefined {
  const all = transferredBytes + remainingBytes;
  return all > 0 ? transferredBytes / all : undefined;
}

/** How far a move is. */
export const progressOf = ({ status }: Migration): number | undefined =>
  shareOf(status?.stage === "Disks" ? status.disks : status?.memory);

const timeLeft = (seconds: number | undefined): string =>
  seconds === undefined ? "" : `, ${duration(seconds * 1000)} left`;

export function MoveProgress({ migration }: { migration: Migration }) {
  const { spec, status, metadata } = migration;
  const can = useRights(metadata.namespace);
  const progress = progressOf(migration);
  const part = status?.stage === "Disks" ? status.disks : status?.memory;
  return (
    <Running
      label={`Move of ${spec.vm}`}
      far={{
        value: progress ?? 0,
        text:
          progress === undefined
            ? (status?.phase ?? "Pending")
            : `${size(part?.transferredBytes)} sent${timeLeft(status?.secondsLeft)}`,
      }}
      cancel={() =>
        void tell(
          patch("migrations", metadata, { spec: { cancel: true } }),
          `the move of ${spec.vm} is called off`,
        )
      }
      whyNot={spec.cancel ? "It is being called off already." : can("patch", "migrations")}
    >
      <strong>{spec.vm}</strong> moves from {status?.from ?? "its host"} to{" "}
      {spec.to ?? "a host that the director chooses"}
      {status?.stage && (
        <span className="muted">
          , {status.stage === "PostCopy" ? "post-copy" : status.stage.toLowerCase()}
        </span>
      )}
    </Running>
  );
}

/** Most are over at once. Of one that goes on longer its host tells how far it is, where it can; else since when. */
function DisksProgress({ task, of }: { task: Task; of: NonNullable<Task["disks"]> }) {
  const { plural, object } = of;
  const can = useRights(object.metadata.namespace);
  const [tone] = toneOf(task.phase);
  const progress = object.status?.progress;
  const share = shareOf(progress);
  return (
    <Running
      label={task.what}
      far={
        share === undefined
          ? { since: object.metadata.deletionTimestamp ?? task.began }
          : {
              value: share,
              text: `${size(progress?.transferredBytes)} copied${timeLeft(progress?.secondsLeft)}`,
            }
      }
      cancel={() =>
        void tell(removeAsItIs(plural, object.metadata), `the ${task.what.toLowerCase()} is called off`)
      }
      whyNot={
        plural === "snapshots" ? whyNotCallOffSnapshot(object, can) : whyNotCallOffRollback(object, can)
      }
    >
      <Badge tone={tone} busy>
        {task.phase}
      </Badge>{" "}
      <TaskWords task={task} />
    </Running>
  );
}

export default function Activity() {
  const migrations = useLive("migrations");
  const snapshots = useLive("snapshots");
  const rollbacks = useLive("rollbacks");
  const builds = useLive("imagebuilds");
  const tasks = useMemo((): Task[] => {
    const machine = (namespace: string | undefined, vm: string) => `/machines/${namespace}/${vm}`;
    return [
      ...migrations.list.map((migration): Task => {
        const { metadata, spec, status } = migration;
        return {
          id: `migration ${metadata.uid}`,
          what: `Move ${status?.from ?? ""} → ${spec.to ?? "?"}`,
          machine: spec.vm,
          href: machine(metadata.namespace, spec.vm),
          phase: status?.phase ?? "Pending",
          running: !isOver(migration),
          failed: status?.phase === "Failed",
          began: status?.startedTime ?? metadata.creationTimestamp ?? "",
          ended: status?.finishedTime,
          message: [
            status?.message,
            status?.downtimeMs !== undefined && `stood still ${status.downtimeMs} ms`,
          ]
            .filter(Boolean)
            .join("; "),
          migration,
        };
      }),
      ...snapshots.list.map((object): Task => {
        const { metadata, spec, status } = object;
        const phase = metadata.deletionTimestamp ? "Deleting" : (status?.phase ?? "Pending");
        return {
          id: `snapshot ${metadata.uid}`,
          what: `Snapshot ${metadata.name}`,
          machine: spec.vm,
          href: `${machine(metadata.namespace, spec.vm)}/snapshots`,
          phase,
          running: ["Pending", "Taking", "Deleting"].includes(phase),
          failed: phase === "Failed",
          began: metadata.creationTimestamp ?? "",
          ended: status?.taken?.takenTime ?? metadata.creationTimestamp,
          message: status?.message ?? "",
          disks: { plural: "snapshots", object },
        };
      }),
      ...rollbacks.list.map((object): Task => {
        const { metadata, spec, status } = object;
        return {
          id: `rollback ${metadata.uid}`,
          what: `Rollback to ${spec.snapshot}`,
          machine: spec.vm,
          href: `${machine(metadata.namespace, spec.vm)}/snapshots`,
          phase: status?.phase ?? "Pending",
          running: ["Pending", "Running", undefined].includes(status?.phase),
          failed: status?.phase === "Failed",
          began: status?.startedTime ?? metadata.creationTimestamp ?? "",
          ended: status?.finishedTime,
          message: status?.message ?? "",
          disks: { plural: "rollbacks", object },
        };
      }),
      ...builds.list.map((build): Task => {
        const { metadata, spec, status } = build;
        return {
          id: `build ${metadata.uid}`,
          what: `Build of ${spec.image}`,
          machine: undefined,
          href: `/images/${spec.image}`,
          phase: status?.phase ?? "Pending",
          running: !isBuildOver(build),
          failed: status?.phase === "Failed",
          began: status?.startedTime ?? metadata.creationTimestamp ?? "",
          ended: status?.finishedTime,
          message: status?.message ?? "",
          build,
        };
      }),
    ].sort((a, b) => (a.began < b.began ? 1 : -1));
  }, [migrations.list, snapshots.list, rollbacks.list, builds.list]);
  const running = tasks.filter((task) => task.running);
  const over = tasks.filter((task) => !task.running).slice(0, 100);
  return (
    <>
      <div className="page-head">
        <h1>Activity</h1>
      </div>
      <Ready
        of={[migrations, snapshots, rollbacks, builds].filter((list) => !isHidden(list))}
        what="what runs"
      >
        {() => (
          <div className="stack">
            <section className="panel">
              <h2>Running now</h2>
              {running.length === 0 ? (
                <p className="body muted">Nothing: no move, no snapshot, no build.</p>
              ) : (
                <ul className="lines">
                  {running.map((task) => (
                    <li key={task.id}>
                      {task.migration ? (
                        <MoveProgress migration={task.migration} />
                      ) : task.build ? (
                        <BuildProgress build={task.build} />
                      ) : task.disks ? (
                        <DisksProgress task={task} of={task.disks} />
                      ) : (
                        <TaskLine task={task} />
                      )}
                    </li>
                  ))}
                </ul>
              )}
            </section>
            <section className="panel">
              <h2>Done</h2>
              {over.length === 0 ? (
                <p className="body muted">Nothing yet.</p>
              ) : (
                <ul className="lines">
                  {over.map((task) => (
                    <li key={task.id}>
                      <TaskLine task={task} />
                    </li>
                  ))}
                </ul>
              )}
            </section>
            <section className="panel">
              <h2>Events</h2>
              <EventTable />
            </section>
          </div>
        )}
      </Ready>
    </>
  );
}

function TaskWords({ task }: { task: Task }) {
  return (
    <span>
      {task.build ? <Link href={task.href}>{task.what}</Link> : task.what}
      {task.machine && (
        <>
          {" "}
          of <Link href={task.href}>{task.machine}</Link>
        </>
      )}
      {task.message && <span className={task.failed ? "bad" : "muted"}> · {task.message}</span>}
    </span>
  );
}

function TaskLine({ task }: { task: Task }) {
  const [tone] = toneOf(task.phase);
  return (
    <>
      <Badge tone={tone} busy={task.running}>
        {task.phase}
      </Badge>
      <TaskWords task={task} />
      <span className="push muted">
        <Ago time={task.ended ?? task.began} />
      </span>
    </>
  );
}
