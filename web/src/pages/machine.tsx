/** One machine: how it is, what it uses, why it is where it is, and all that can be done with it. */
import { type ReactNode, Suspense, useState } from "react";
import { Button, Menu, MenuItem, MenuTrigger, Popover } from "react-aria-components";
import { Action, Ago, Badge, size } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icons.tsx";
import { Empty, Loading, Ready } from "../../ui/states.tsx";
import { tell } from "../../ui/toasts.tsx";
import type { PageProps } from "../app.tsx";
import { page } from "../caught.tsx";
import { ACTIONS, act, whyNotAct, whyNotConsole, whyNotDelete, whyNotMigrate } from "../data/actions.ts";
import { bytesOf, isOver, policiesOf } from "../data/derive.ts";
import type { VirtualMachine } from "../data/kinds.ts";
import { useBrief, useLive, useOne } from "../data/live.ts";
import { type Can, useRights } from "../data/rights.ts";
import { DeleteDialog, MigrateDialog } from "../machine/dialogs.tsx";
import { Snapshots } from "../machine/snapshots.tsx";
import { UsageCharts } from "../machine/usage.tsx";
import { Why } from "../machine/why.tsx";
import { Link } from "../router.tsx";
import { YamlEditor } from "../yaml/object.tsx";
import { MoveProgress } from "./activity.tsx";
import { Conditions } from "./conditions.tsx";
import { EventTable } from "./events.tsx";
import { MachineState, machinePath } from "./machines.tsx";

const Screen = page(() => import("../machine/screen.tsx"));
const Terminal = page(() => import("../machine/terminal.tsx"));

const TABS = [
  ["", "Overview"],
  ["snapshots", "Snapshots"],
  ["screen", "Screen"],
  ["serial", "Serial port"],
  ["events", "Events"],
  ["yaml", "YAML"],
] as const;

export default function Machine({ parts: [namespace = "", name = "", tab = ""] }: PageProps) {
  const machines = useOne("virtualmachines", { namespace, name });
  const vm = machines.items.get(`${namespace}/${name}`);
  const can = useRights(namespace);
  return (
    <Ready of={[machines]} what={name}>
      {() =>
        vm ? (
          <Found vm={vm} tab={tab} can={can} />
        ) : (
          <Empty isPage title={`There is no machine ${name} in ${namespace}`}>
            <p>
              It was deleted, or never was. <Link href="/machines">All machines</Link>
            </p>
          </Empty>
        )
      }
    </Ready>
  );
}

/** Of what makes sense, whoever asks. */
const may: Can = () => undefined;

function Found({ vm, tab, can }: { vm: VirtualMachine; tab: string; can: Can }) {
  const hosts = useBrief("hosts");
  const [dialog, setDialog] = useState<ReactNode>(null);
  const close = () => setDialog(null);
  const path = machinePath(vm);
  const { name } = vm.metadata;
  const [first, ...more] = [...ACTIONS].sort(
    (a, b) => Number(Boolean(whyNotAct(a, vm, may))) - Number(Boolean(whyNotAct(b, vm, may))),
  );
  const main = vm.spec.running && first?.id !== "start" ? ACTIONS.find(({ id }) => id === "stop") : first;
  const others = [...more, ...(first && main !== first ? [first] : [])].filter((one) => one !== main);
  return (
    <>
      <div className="page-head">
        <h1>
          {name} <MachineState vm={vm} />
        </h1>
        <span className="muted">{vm.metadata.namespace}</span>
        <div className="actions">
          {main && (
            <Action
              onPress={() => void tell(act(main, vm), main.done(name))}
              whyNot={whyNotAct(main, vm, can)}
            >
              {main.name}
            </Action>
          )}
          <Action
            onPress={() => setDialog(<MigrateDialog vm={vm} hosts={hosts.list} onClose={close} />)}
            whyNot={whyNotMigrate(vm, hosts.list, can)}
          >
            Move
          </Action>
          <MenuTrigger>
            <Button className="button icon" aria-label="More actions">
              <Icon name="more" />
            </Button>
            <Popover className="popover" placement="bottom end">
              <Menu
                aria-label="Actions"
                onAction={(id) => {
                  const action = ACTIONS.find((one) => one.id === id);
                  if (action) void tell(act(action, vm), action.done(name));
                  if (id === "delete") setDialog(<DeleteDialog vm={vm} onClose={close} />);
                }}
              >
                {others.map((action) => (
                  <Choice
                    key={action.id}
                    id={action.id}
                    name={action.name}
                    whyNot={whyNotAct(action, vm, can)}
                  />
                ))}
                <Choice id="delete" name="Delete…" whyNot={whyNotDelete(vm, can)} danger />
              </Menu>
            </Popover>
          </MenuTrigger>
        </div>
      </div>
      <nav className="tabs" aria-label={`Pages of ${name}`}>
        {TABS.map(([id, text]) => (
          <Link key={id} href={id ? `${path}/${id}` : path} aria-current={id === tab ? "page" : undefined}>
            {text}
          </Link>
        ))}
      </nav>
      <Tab vm={vm} tab={tab} can={can} />
      {dialog}
    </>
  );
}

function Choice({
  id,
  name,
  whyNot,
  danger,
}: {
  id: string;
  name: string;
  whyNot: string | undefined;
  danger?: boolean;
}) {
  return (
    <MenuItem id={id} textValue={name} isDisabled={whyNot !== undefined}>
      <span className={danger && !whyNot ? "bad" : ""}>{name}</span>
      {whyNot && <span className="small muted cut">{whyNot}</span>}
    </MenuItem>
  );
}

function Tab({ vm, tab, can }: { vm: VirtualMachine; tab: string; can: Can }) {
  const { name, namespace } = vm.metadata;
  switch (tab) {
    case "snapshots":
      return <Snapshots vm={vm} can={can} />;
    case "events":
      return <EventTable kind="VirtualMachine" name={name} namespace={namespace} />;
    case "yaml":
      return <YamlEditor plural="virtualmachines" object={vm} can={can} />;
    case "screen":
    case "serial": {
      const whyNot = whyNotConsole(vm, tab === "screen" ? "vnc" : "console", can);
      const Console = tab === "screen" ? Screen : Terminal;
      return whyNot ? (
        <Empty title="No console now">
          <p>{whyNot}</p>
        </Empty>
      ) : (
        <Suspense fallback={<Loading what="the console" />}>
          <Console vm={vm} />
        </Suspense>
      );
    }
    default:
      return <Overview vm={vm} />;
  }
}

function Overview({ vm }: { vm: VirtualMachine }) {
  const policies = useLive("policies");
  const migrations = useLive("migrations");
  const { spec, status, metadata } = vm;
  const own = policiesOf(vm, policies.list);
  const moving = migrations.list.find(
    (one) => one.spec.vm === metadata.name && one.metadata.namespace === metadata.namespace && !isOver(one),
  );
  const pending = status?.pendingChanges ?? [];
  return (
    <div className="stack">
      {moving && (
        <section className="panel">
          <div className="body">
            <MoveProgress migration={moving} />
          </div>
        </section>
      )}
      {pending.length > 0 && (
        <section className="panel">
          <h2>Changes that wait</h2>
          <div className="table-wrap">
            <table>
              <thead>
                <tr>
                  <th>Field</th>
                  <th>Runs with</th>
                  <th>Asked for</th>
                  <th>Why it waits</th>
                </tr>
              </thead>
              <tbody>
                {pending.map((change) => (
                  <tr key={change.field}>
                    <td>
                      <code>{change.field}</code>
                    </td>
                    <td>{change.from ?? "–"}</td>
                    <td>{change.to ?? "–"}</td>
                    <td className="wrap">
                      {change.reason}
                      {change.restart && <span className="muted"> The next start has it.</span>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
      <section className="panel">
        <div className="body">
          <UsageCharts vm={vm} />
        </div>
      </section>
      <div className="split">
        <section className="panel">
          <h2>Machine</h2>
          <dl className="facts body">
            <dt>Host</dt>
            <dd>{status?.host ? <Link href={`/hosts/${status.host}`}>{status.host}</Link> : "–"}</dd>
            <dt>Placed because</dt>
            <dd>{status?.why ?? "–"}</dd>
            <dt>Policies</dt>
            <dd>
              {own.length === 0
                ? "none"
                : own.map((policy, i) => (
                    <span key={policy.metadata.uid}>
                      {i > 0 && ", "}
                      <Link href={`/director/policies/${policy.metadata.namespace}/${policy.metadata.name}`}>
                        {policy.metadata.name}
                      </Link>
                    </span>
                  ))}
            </dd>
            <dt>CPUs</dt>
            <dd>
              {spec.cpus}
              {spec.maxCpus && <span className="muted"> up to {spec.maxCpus} while it runs</span>}
            </dd>
            <dt>Memory</dt>
            <dd>
              {size(bytesOf(spec.memory))}
              {spec.maxMemory && (
                <span className="muted"> up to {size(bytesOf(spec.maxMemory))} while it runs</span>
              )}
            </dd>
            <dt>Image</dt>
            <dd>
              <Link href={`/images/${spec.image?.split(":")[0]}`}>{spec.image}</Link>
            </dd>
            <dt>Labels</dt>
            <dd className="row">
              {Object.entries(metadata.labels ?? {}).map(([key, value]) => (
                <Link
                  key={key}
                  className="label"
                  href={`/machines?q=${encodeURIComponent(`${key}=${value}`)}`}
                >
                  {key}={value}
                </Link>
              ))}
              {Object.keys(metadata.labels ?? {}).length === 0 && "–"}
            </dd>
            <dt>Made</dt>
            <dd>
              <Ago time={metadata.creationTimestamp} /> ago
            </dd>
            {status?.lastEnd && (
              <>
                <dt>Last run ended</dt>
                <dd>
                  {status.lastEnd.reason}: {status.lastEnd.message}
                </dd>
              </>
            )}
          </dl>
        </section>
        <Conditions conditions={status?.conditions ?? []} />
        <section className="panel">
          <h2>Disks</h2>
          <ul className="lines">
            <li>
              <strong>root</strong>
              <span className="muted">
                {spec.diskSize ? size(bytesOf(spec.diskSize)) : "the image's size"}, over {spec.image}
              </span>
            </li>
            {(spec.disks ?? []).map((disk) => (
              <li key={disk.name}>
                <strong>{disk.name}</strong>
                <span className="muted">
                  {[disk.size && size(bytesOf(disk.size)), disk.image && `from ${disk.image}`]
                    .filter(Boolean)
                    .join(", ")}
                </span>
                {!status?.disks?.some(({ name, made }) => name === disk.name && made) && (
                  <Badge tone="idle">not made yet</Badge>
                )}
              </li>
            ))}
            {(status?.disks ?? [])
              .filter(({ name }) => !spec.disks?.some((disk) => disk.name === name))
              .map((disk) => (
                <li key={disk.name}>
                  <strong>{disk.name}</strong> <Badge tone="idle">detached, kept</Badge>
                </li>
              ))}
          </ul>
        </section>
        <section className="panel">
          <h2>Network</h2>
          {(status?.interfaces ?? []).length === 0 ? (
            <p className="body muted">It has no network.</p>
          ) : (
            <ul className="lines">
              {(status?.interfaces ?? []).map((nic) => (
                <li key={nic.mac}>
                  <strong>{nic.network}</strong>
                  <span className="mono">{nic.address}</span>
                  <span className="mono muted">{nic.mac}</span>
                </li>
              ))}
            </ul>
          )}
        </section>
      </div>
      {/* Last: it comes later than the others, and nothing is to jump then. */}
      <section className="panel">
        <h2>Why is it here?</h2>
        <div className="body stack">
          <Why machine={metadata} standing={`${metadata.generation} ${status?.phase} ${status?.host}`} />
        </div>
      </section>
    </div>
  );
}
