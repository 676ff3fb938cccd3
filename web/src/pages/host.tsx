/** One host: what it is made of, what runs on it, its maintenance and power. */
import { type ReactNode, useState } from "react";
import { powerFiguresOf } from "../../../src/director/estate/watts.ts";
import { Action, Badge, Meter, size } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import { tell } from "../../ui/toasts.tsx";
import type { PageProps } from "../app.tsx";
import { patch } from "../data/actions.ts";
import { bytesOf, conditionOf, cpuShare, hostState, hostTone, loadOf, memoryShare } from "../data/derive.ts";
import type { Host as HostKind, Machine } from "../data/kinds.ts";
import { isHidden, useBrief, useOne } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { Link } from "../router.tsx";
import { YamlEditor } from "../yaml/object.tsx";
import { Conditions } from "./conditions.tsx";
import { EventTable } from "./events.tsx";
import { MachineState, machinePath } from "./machines.tsx";
import { OwnMachines } from "./own.tsx";

export default function Host({ parts: [name = "", tab = ""] }: PageProps) {
  const hosts = useOne("hosts", { name });
  const machines = useBrief("virtualmachines");
  const host = hosts.items.get(name);
  if (isHidden(hosts)) return <OwnMachines title={name} host={name} />;
  return (
    <Ready of={[hosts, machines]} what={name}>
      {() =>
        host ? (
          <Found host={host} machines={machines.list} tab={tab} />
        ) : (
          <Empty isPage title={`There is no host ${name}`}>
            <p>
              <Link href="/hosts">All hosts</Link>
            </p>
          </Empty>
        )
      }
    </Ready>
  );
}

function Found({ host, machines, tab }: { host: HostKind; machines: readonly Machine[]; tab: string }) {
  const can = useRights(undefined);
  const [dialog, setDialog] = useState<ReactNode>(null);
  const { name } = host.metadata;
  const { spec, status } = host;
  const set = (change: object, done: string) =>
    void tell(patch("hosts", host.metadata, { spec: change }), done);
  const whyNot = can("patch", "hosts");
  const load = loadOf([host], machines).get(name);
  const onIt = machines
    .filter((vm) => vm.status?.host === name)
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const { facts } = status ?? {};
  const figures = powerFiguresOf(host);
  const evacuated = conditionOf(host, "Evacuated");
  return (
    <>
      <div className="page-head">
        <h1>
          {name} <Badge tone={hostTone(hostState(host))}>{hostState(host)}</Badge>
        </h1>
        <span className="muted">{[spec.site, spec.rack].filter(Boolean).join(", ")}</span>
        <div className="actions">
          <Action
            onPress={() =>
              spec.unschedulable
                ? set({ unschedulable: null }, `${name} takes machines again`)
                : set({ unschedulable: true }, `${name} takes no new machines`)
            }
            whyNot={whyNot}
          >
            {spec.unschedulable ? "Uncordon" : "Cordon"}
          </Action>
          <Action
            onPress={() =>
              spec.maintenance
                ? set({ maintenance: null }, `${name} is in service again`)
                : setDialog(
                    <FormDialog
                      title={`Maintenance of ${name}`}
                      verb="Begin maintenance"
                      onClose={() => setDialog(null)}
                      onSend={() => patch("hosts", host.metadata, { spec: { maintenance: true } })}
                    >
                      <p>
                        Its {onIt.length} machines are moved to other hosts while they run, and none comes.
                        What cannot be moved stays, and the condition Evacuated says why.
                      </p>
                    </FormDialog>,
                  )
            }
            whyNot={whyNot}
          >
            {spec.maintenance ? "End maintenance" : "Maintenance"}
          </Action>
        </div>
      </div>
      <nav className="tabs" aria-label={`Pages of ${name}`}>
        {[
          ["", "Overview"],
          ["events", "Events"],
          ["yaml", "YAML"],
        ].map(([id, text]) => (
          <Link
            key={id}
            href={id ? `/hosts/${name}/${id}` : `/hosts/${name}`}
            aria-current={id === tab ? "page" : undefined}
          >
            {text}
          </Link>
        ))}
      </nav>
      {tab === "events" && <EventTable kind="Host" name={name} />}
      {tab === "yaml" && <YamlEditor plural="hosts" object={host} can={can} />}
      {tab === "" && (
        <div className="stack">
          {evacuated && evacuated.status !== "True" && spec.maintenance && (
            <p className="note warn">Not empty yet: {evacuated.message}</p>
          )}
          <div className="split">
            <section className="panel">
              <h2>Load</h2>
              <div className="body stack">
                <Meter
                  label="CPUs given out"
                  value={load ? cpuShare(load) : 0}
                  text={`${load?.cpus ?? 0} of ${load?.allCpus ?? 0} CPUs given out`}
                />
                <Meter
                  label="Memory given out"
                  value={load ? memoryShare(load) : 0}
                  text={`${size(load?.memoryBytes)} of ${size(load?.allMemoryBytes)} given out`}
                />
                <dl className="facts">
                  <dt>In use</dt>
                  <dd>
                    {load?.usedCpus.toFixed(2)} CPUs, {size(load?.usedMemoryBytes)} memory
                  </dd>
                  <dt>Disks, network</dt>
                  <dd>
                    {size(load?.diskBytesPerSecond)}/s, {size(load?.networkBytesPerSecond)}/s
                  </dd>
                  <dt>Power</dt>
                  <dd>
                    {load?.watts === undefined
                      ? "no power figures"
                      : `${Math.round(load.watts)} W by its figures (${figures.idleWatts} to ${figures.maxWatts} W)`}
                    {status?.power && `; its BMC says ${status.power.state}`}
                  </dd>
                </dl>
              </div>
            </section>
            <section className="panel">
              <h2>
                Hardware{" "}
                {facts?.source === "declared" && <span className="label">declared, not measured</span>}
              </h2>
              <dl className="facts body">
                <dt>CPU</dt>
                <dd>
                  {facts?.cpu.model}, {facts?.cpu.sockets} ×{" "}
                  {facts && facts.cpu.cores / Math.max(1, facts.cpu.sockets)} cores, {facts?.cpu.threads}{" "}
                  threads{facts?.cpu.mhz ? `, ${facts.cpu.mhz} MHz` : ""}
                </dd>
                <dt>Memory</dt>
                <dd>
                  {size(facts?.memory.totalBytes)}
                  {facts && facts.memory.modules.length > 0 && ` in ${facts.memory.modules.length} modules`}
                </dd>
                <dt>Disks</dt>
                <dd>
                  {facts?.disks
                    .map((disk) => `${disk.name} ${size(disk.sizeBytes)} ${disk.kind}`)
                    .join(", ") || "–"}
                </dd>
                <dt>Links</dt>
                <dd>
                  {facts?.links
                    .map((link) => `${link.name}${link.mbps ? ` ${link.mbps / 1000} Gbit/s` : ""}`)
                    .join(", ") || "–"}
                </dd>
                <dt>QEMU</dt>
                <dd>
                  {facts?.qemu.version}, {facts?.qemu.accelerator}: {facts?.qemu.reason}
                </dd>
                <dt>Kernel</dt>
                <dd>{facts?.kernel}</dd>
                <dt>Address</dt>
                <dd className="mono">{status?.address}</dd>
              </dl>
            </section>
            <section className="panel">
              <h2>Machines</h2>
              {onIt.length === 0 ? (
                <p className="body muted">None.</p>
              ) : (
                <ul className="lines">
                  {onIt.map((vm) => (
                    <li key={vm.metadata.uid}>
                      <Link href={machinePath(vm)}>{vm.metadata.name}</Link>
                      <MachineState vm={vm} />
                      <span className="push muted">
                        {vm.spec.cpus} {vm.spec.cpus === 1 ? "CPU" : "CPUs"}, {size(bytesOf(vm.spec.memory))}
                      </span>
                    </li>
                  ))}
                </ul>
              )}
            </section>
            <Conditions conditions={status?.conditions ?? []} />
          </div>
        </div>
      )}
      {dialog}
    </>
  );
}
