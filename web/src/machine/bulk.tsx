/** What can be done with many machines; those with which it makes no sense are left out, and that is said. */
import { useRef, useState } from "react";
import { Action } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { tell, toast } from "../../ui/toasts.tsx";
import { ACTIONS, act, remove, whyNotAct, whyNotDelete } from "../data/actions.ts";
import { keyOf, type Machine } from "../data/kinds.ts";
import { forEachOf } from "../data/many.ts";
import { useRightsOf } from "../data/rights.ts";

/** Sooner nobody wonders how far it is. */
const QUIET_MS = 500;
/** Of more than these the names are not read anyway. */
const LISTED = 1000;

/**
 * Asks each until it is stopped, and how far that is, in words: "" before that is of interest, undefined while nothing is asked.
 * `each`: as forEachOf.
 */
function useEach() {
  const [progress, setProgress] = useState<string>();
  const asking = useRef<AbortController>(undefined);
  const each = async (machines: readonly Machine[], what: (vm: Machine) => Promise<unknown>) => {
    setProgress("");
    const stop = new AbortController();
    asking.current = stop;
    let shown = performance.now();
    const show = (done: number) => {
      if (performance.now() - shown < QUIET_MS) return;
      shown = performance.now();
      setProgress(`${done} of ${machines.length}`);
    };
    try {
      return await forEachOf(machines, what, show, stop.signal);
    } finally {
      setProgress(undefined);
    }
  };
  return [progress, each, () => asking.current?.abort()] as const;
}

export function Bulk({ machines, clear }: { machines: readonly Machine[]; clear: () => void }) {
  const canIn = useRightsOf([...new Set(machines.map(({ metadata }) => metadata.namespace ?? ""))]);
  const [deleting, setDeleting] = useState<readonly Machine[]>();
  const [progress, each] = useEach();
  const [first] = machines;
  const isBusy = progress === undefined ? undefined : "What was asked before is still being sent.";
  /** Those with which it can be done; when there are none, why not with the first. */
  const ableOf = (why: (vm: Machine) => string | undefined) => {
    const able = machines.filter((vm) => !why(vm));
    return { able, whyNot: isBusy ?? (able.length === 0 && first ? why(first) : undefined) };
  };
  const deletable = ableOf((vm) => whyNotDelete(vm, canIn(vm.metadata.namespace)));
  return (
    <div className="bulk" role="toolbar" aria-label="With the chosen machines">
      <strong>{machines.length} chosen</strong>
      {ACTIONS.filter(({ id }) => ["start", "stop", "restart"].includes(id)).map((action) => {
        const { able, whyNot } = ableOf((vm) => whyNotAct(action, vm, canIn(vm.metadata.namespace)));
        return (
          <Action
            key={action.id}
            whyNot={whyNot}
            onPress={() =>
              void tell(
                each(able, (vm) => act(action, vm)),
                `${action.name}: asked of ${able.length} of ${machines.length}`,
              )
            }
          >
            {action.name}
            {able.length > 0 && able.length < machines.length && ` ${able.length}`}
          </Action>
        );
      })}
      <Action kind="danger" whyNot={deletable.whyNot} onPress={() => setDeleting(deletable.able)}>
        Delete…
      </Action>
      <Action kind="quiet" onPress={clear}>
        Choose none
      </Action>
      {progress && <span className="muted">{progress}</span>}
      {deleting && (
        <DeleteMachines
          machines={deleting}
          left={machines.length - deleting.length}
          onClose={() => setDeleting(undefined)}
          onDone={clear}
        />
      )}
    </div>
  );
}

/** One is called by its name. Nobody types the names of many: they are read, and how many they are is typed. */
function DeleteMachines({
  machines,
  left,
  onClose,
  onDone,
}: {
  machines: readonly Machine[];
  /** So many more are chosen, and stay. */
  left: number;
  onClose: () => void;
  onDone: () => void;
}) {
  // While they go, fewer are chosen.
  const stay = useRef(left).current;
  const [progress, each, stop] = useEach();
  const [only] = machines;
  const one = machines.length === 1 ? only?.metadata.name : undefined;
  return (
    <FormDialog
      title={one ? `Delete ${one}` : `Delete ${machines.length} machines`}
      verb={one ? "Delete machine and disks" : "Delete machines and disks"}
      danger
      typed={one ?? `delete ${machines.length}`}
      onClose={onClose}
      onStop={stop}
      onSend={async () => {
        const gone = await each(machines, (vm) => remove("virtualmachines", vm.metadata));
        if (gone === machines.length) onDone();
        else toast("bad", `Stopped: ${gone} of ${machines.length} machines are deleted, the others stay`);
      }}
    >
      <p>
        {one
          ? "It is stopped, and its disks and snapshots are"
          : "They are stopped, and their disks and snapshots are"}{" "}
        destroyed. This cannot be undone.
      </p>
      {!one && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
        <ul className="names mono small" aria-label="Machines to be deleted" tabIndex={0}>
          {machines.slice(0, LISTED).map((vm) => (
            <li key={keyOf(vm)}>{keyOf(vm)}</li>
          ))}
          {machines.length > LISTED && <li>and {machines.length - LISTED} more</li>}
        </ul>
      )}
      {stay > 0 && (
        <p className="note warn">
          {stay} more {stay === 1 ? "is" : "are"} chosen and cannot be deleted: protected, being deleted
          already, or not allowed by your roles.
        </p>
      )}
      {progress && <p className="muted">{progress} deleted</p>}
    </FormDialog>
  );
}
