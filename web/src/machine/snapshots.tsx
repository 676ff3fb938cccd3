/** A machine's snapshots as the tree that they are. */
import { type ReactNode, useState } from "react";
import { Action, Ago, Badge } from "../../ui/basics.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { whyNotSnapshot } from "../data/actions.ts";
import { toneOf } from "../data/derive.ts";
import type { Snapshot, VirtualMachine } from "../data/kinds.ts";
import { useLive } from "../data/live.ts";
import type { Can } from "../data/rights.ts";
import { DeleteSnapshotDialog, RollbackDialog, SnapshotDialog } from "./dialogs.tsx";

const CONSISTENT: Readonly<Record<string, string>> = {
  Quiesced: "the guest had written out its file systems",
  Crash: "as after a power cut",
  Stopped: "the machine did not run",
  Memory: "with its memory",
};

export function Snapshots({ vm, can }: { vm: VirtualMachine; can: Can }) {
  const snapshots = useLive("snapshots");
  const [dialog, setDialog] = useState<ReactNode>(null);
  const close = () => setDialog(null);
  const own = snapshots.list
    .filter(
      ({ metadata, spec }) => metadata.namespace === vm.metadata.namespace && spec.vm === vm.metadata.name,
    )
    .sort((a, b) => ((a.metadata.creationTimestamp ?? "") < (b.metadata.creationTimestamp ?? "") ? -1 : 1));
  const names = new Set(own.map(({ metadata }) => metadata.name));
  const childrenOf = (parent: string | undefined) =>
    own.filter(({ status }) => {
      const of = status?.parent !== undefined && names.has(status.parent) ? status.parent : undefined;
      return of === parent;
    });
  const current = vm.status?.snapshot;
  const branch = (parent: string | undefined): ReactNode => {
    const list = childrenOf(parent);
    const isHere =
      parent === current || (parent === undefined && (current === undefined || !names.has(current)));
    if (list.length === 0 && !isHere) return null;
    return (
      <ul className="tree">
        {list.map((snapshot) => (
          <li key={snapshot.metadata.uid}>
            <Row snapshot={snapshot} vm={vm} can={can} open={setDialog} close={close} />
            {branch(snapshot.metadata.name)}
          </li>
        ))}
        {isHere && (
          <li>
            <div className="tree-row">
              <Badge tone="info">You are here</Badge>
              <span className="muted">the disks as they are now</span>
            </div>
          </li>
        )}
      </ul>
    );
  };
  return (
    <section className="panel">
      <header>
        <h2>Snapshots</h2>
        <Action
          onPress={() => setDialog(<SnapshotDialog vm={vm} onClose={close} />)}
          whyNot={whyNotSnapshot(vm, can)}
        >
          Take a snapshot
        </Action>
      </header>
      <Ready of={[snapshots]} what="the snapshots">
        {() =>
          own.length === 0 ? (
            <Empty title="No snapshots">
              <p>
                A snapshot keeps all disks as they are at one instant, and the memory when you want; the
                machine runs on.
              </p>
            </Empty>
          ) : (
            <div className="body">{branch(undefined)}</div>
          )
        }
      </Ready>
      {dialog}
    </section>
  );
}

function Row({
  snapshot,
  vm,
  can,
  open,
  close,
}: {
  snapshot: Snapshot;
  vm: VirtualMachine;
  can: Can;
  open: (dialog: ReactNode) => void;
  close: () => void;
}) {
  const { metadata, spec, status } = snapshot;
  const phase = metadata.deletionTimestamp ? "Deleting" : (status?.phase ?? "Pending");
  const [tone, busy] = toneOf(phase);
  const taken = status?.taken;
  const isBusy =
    vm.status?.disksBusy &&
    `Its disks are busy: ${vm.status.disksBusy.action} of ${vm.status.disksBusy.name}.`;
  return (
    <div className="tree-row">
      <strong>{metadata.name}</strong>
      <Badge tone={tone} busy={busy}>
        {phase}
      </Badge>
      {spec.memory && <span className="label">memory</span>}
      {(spec.template || status?.template) && <span className="label">template</span>}
      <span className="muted">
        <Ago time={metadata.creationTimestamp} /> ago
        {taken && `, ${CONSISTENT[taken.consistent] ?? taken.consistent}`}
        {status?.message && phase === "Failed" && `: ${status.message}`}
      </span>
      <span className="tree-actions">
        <Action
          kind="quiet"
          onPress={() => open(<RollbackDialog vm={vm} snapshot={snapshot} onClose={close} />)}
          whyNot={phase !== "Ready" ? `It is ${phase}.` : (isBusy ?? can("create", "rollbacks"))}
        >
          Roll back
        </Action>
        <Action
          kind="quiet"
          onPress={() => open(<DeleteSnapshotDialog snapshot={snapshot} onClose={close} />)}
          whyNot={metadata.deletionTimestamp ? "It is being deleted." : can("delete", "snapshots")}
        >
          Delete
        </Action>
      </span>
    </div>
  );
}
