/** The dialogs of one machine: move it, take a snapshot, go back to one, delete it. */
import { useState } from "react";
import { nameOfNow } from "../../../src/resource/name-of-now.ts";
import { FormDialog } from "../../ui/dialog.tsx";
import { Field } from "../../ui/field.tsx";
import { toast } from "../../ui/toasts.tsx";
import { create, remove } from "../data/actions.ts";
import type { HostBrief, Snapshot, VirtualMachine } from "../data/kinds.ts";
import { navigate } from "../router.tsx";
import { usePlacement } from "./why.tsx";

/** So many hosts are offered one by one. */
const CHOICES = 50;

interface Props {
  vm: VirtualMachine;
  onClose: () => void;
}

export function MigrateDialog({ vm, hosts, onClose }: Props & { hosts: readonly HostBrief[] }) {
  const { name, namespace = "" } = vm.metadata;
  const { data } = usePlacement(vm.metadata, `${vm.metadata.generation} ${vm.status?.host}`);
  // Without the director's word (it is for those who may see hosts), by name alone; of very many hosts the best, and any by its name.
  const told = data?.hosts.filter(({ chosen }) => !chosen);
  const others: readonly { name: string; ruledOut?: boolean; verdict?: string }[] =
    told ??
    hosts
      .map(({ metadata }) => ({ name: metadata.name }))
      .filter(({ name: host }) => host !== vm.status?.host)
      .slice(0, CHOICES);
  const isMore = data ? data.others !== undefined : hosts.length > CHOICES;
  const [to, setTo] = useState("");
  return (
    <FormDialog
      title={`Move ${name} to another host`}
      verb="Move"
      onClose={onClose}
      onSend={async () => {
        const spec = { vm: name, ...(to ? { to } : {}), reason: "a user asked for it" };
        await create("migrations", "Migration", { metadata: { name: nameOfNow(name), namespace }, spec });
        toast("ok", `${name} is being moved; it runs on meanwhile`);
      }}
    >
      <fieldset className="choices">
        <legend className="unseen">Host</legend>
        <label>
          <input type="radio" name="host" checked={to === ""} onChange={() => setTo("")} />
          <span>
            The director chooses<span className="hint">the best of those that may have it</span>
          </span>
        </label>
        {others.map(({ name: host, ruledOut = false, verdict }) => (
          <label key={host} className={ruledOut ? "muted" : ""}>
            <input
              type="radio"
              name="host"
              checked={to === host}
              disabled={ruledOut}
              onChange={() => setTo(host)}
            />
            <span>
              {host}
              {verdict && <span className="hint">{verdict}</span>}
            </span>
          </label>
        ))}
      </fieldset>
      {isMore && (
        <Field id="other-host" label="Or another host, by its name" hint="the server checks whether it may">
          <input
            id="other-host"
            value={to}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => setTo(event.target.value.trim())}
          />
        </Field>
      )}
    </FormDialog>
  );
}

export function SnapshotDialog({ vm, onClose }: Props) {
  const { name: machine, namespace = "" } = vm.metadata;
  const [name, setName] = useState(nameOfNow(machine));
  const runs = vm.status?.phase === "Running" || vm.status?.phase === "Paused";
  const [memory, setMemory] = useState(false);
  return (
    <FormDialog
      title={`Take a snapshot of ${machine}`}
      verb="Take it"
      onClose={onClose}
      onSend={async () => {
        await create("snapshots", "Snapshot", {
          metadata: { name, namespace },
          spec: { vm: machine, memory },
        });
        toast("ok", `snapshot ${name} is being taken`);
      }}
    >
      <div className="field">
        <label htmlFor="snapshot-name">Name</label>
        <input
          id="snapshot-name"
          value={name}
          spellCheck={false}
          onChange={(event) => setName(event.target.value)}
        />
      </div>
      <fieldset className="choices">
        <legend className="unseen">What is kept</legend>
        <label>
          <input
            type="checkbox"
            checked={memory}
            disabled={!runs}
            onChange={(event) => setMemory(event.target.checked)}
          />
          <span>
            With its memory
            <span className="hint">
              {runs
                ? "a rollback goes on from this very moment, instead of booting"
                : "it does not run, so it has none"}
            </span>
          </span>
        </label>
      </fieldset>
    </FormDialog>
  );
}

export function RollbackDialog({ vm, snapshot, onClose }: Props & { snapshot: Snapshot }) {
  const { name: machine, namespace = "" } = vm.metadata;
  const [keep, setKeep] = useState(true);
  return (
    <FormDialog
      title={`Take ${machine} back to ${snapshot.metadata.name}`}
      verb="Roll back"
      danger={!keep}
      {...(keep ? {} : { typed: machine })}
      onClose={onClose}
      onSend={async () => {
        const spec = { vm: machine, snapshot: snapshot.metadata.name, keep };
        await create("rollbacks", "Rollback", { metadata: { name: nameOfNow(machine), namespace }, spec });
        toast("ok", `${machine} is being taken back`);
      }}
    >
      <p>
        Its disks become what they were
        {snapshot.spec.memory ? ", and it goes on with the memory of then" : "; it boots from them"}.
      </p>
      <fieldset className="choices">
        <legend className="unseen">The state of now</legend>
        <label>
          <input type="checkbox" checked={keep} onChange={(event) => setKeep(event.target.checked)} />
          <span>
            Keep the state of now as a snapshot
            <span className="hint">{keep ? "so that you can come back to it" : "it is lost otherwise"}</span>
          </span>
        </label>
      </fieldset>
    </FormDialog>
  );
}

export function DeleteDialog({ vm, onClose }: Props) {
  return (
    <FormDialog
      title={`Delete ${vm.metadata.name}`}
      verb="Delete machine and disks"
      danger
      typed={vm.metadata.name}
      onClose={onClose}
      onSend={async () => {
        await remove("virtualmachines", vm.metadata);
        toast("ok", `${vm.metadata.name} is being deleted`);
        navigate("/machines");
      }}
    >
      <p>It is stopped, and its disks and snapshots are destroyed. This cannot be undone.</p>
    </FormDialog>
  );
}

export function DeleteSnapshotDialog({ snapshot, onClose }: { snapshot: Snapshot; onClose: () => void }) {
  return (
    <FormDialog
      title={`Delete the snapshot ${snapshot.metadata.name}`}
      verb="Delete it"
      danger
      typed={snapshot.metadata.name}
      onClose={onClose}
      onSend={async () => {
        await remove("snapshots", snapshot.metadata);
        toast("ok", `snapshot ${snapshot.metadata.name} is being deleted`);
      }}
    >
      <p>Nobody can go back to it any more. The machine stays as it is.</p>
    </FormDialog>
  );
}
