/** A power policy or a site: how it stands, and its YAML. */
import { type ReactNode, useState } from "react";
import { Action, Badge } from "../../ui/basics.tsx";
import { FormDialog } from "../../ui/dialog.tsx";
import { Empty, Ready } from "../../ui/states.tsx";
import type { PageProps } from "../app.tsx";
import { remove } from "../data/actions.ts";
import type { PowerPolicy, Site } from "../data/kinds.ts";
import { useBrief, useOne } from "../data/live.ts";
import { useRights } from "../data/rights.ts";
import { siteLines } from "../estate/scene-of.ts";
import { Link, navigate } from "../router.tsx";
import { YamlEditor } from "../yaml/object.tsx";
import { Conditions } from "./conditions.tsx";
import { EventTable } from "./events.tsx";

const KINDS = { powerpolicies: ["PowerPolicy", "power policy"], sites: ["Site", "site"] } as const;

export default function ObjectPage({ parts: [plural = "", name = ""] }: PageProps) {
  return plural === "sites" ? <One plural="sites" name={name} /> : <One plural="powerpolicies" name={name} />;
}

function One({ plural, name }: { plural: keyof typeof KINDS; name: string }) {
  const objects = useOne(plural, { name });
  const can = useRights(undefined);
  const [dialog, setDialog] = useState<ReactNode>(null);
  const [kind, words] = KINDS[plural];
  const object: PowerPolicy | Site | undefined = objects.items.get(name);
  return (
    <Ready of={[objects]} what={name}>
      {() =>
        object ? (
          <>
            <div className="page-head">
              <h1>{name}</h1>
              <span className="muted">{words}</span>
              <div className="actions">
                <Action
                  kind="danger"
                  whyNot={can("delete", plural)}
                  onPress={() =>
                    setDialog(
                      <FormDialog
                        title={`Delete the ${words} ${name}`}
                        verb="Delete it"
                        danger
                        typed={name}
                        onClose={() => setDialog(null)}
                        onSend={async () => {
                          await remove(plural, object.metadata);
                          navigate("/director");
                        }}
                      >
                        <p>
                          {plural === "sites"
                            ? "What power costs and emits there is not known any more; its hosts stay."
                            : "Hosts that it has switched off are switched on again."}
                        </p>
                      </FormDialog>,
                    )
                  }
                >
                  Delete…
                </Action>
              </div>
            </div>
            <div className="stack">
              {isPower(object) ? <Power policy={object} /> : <SiteFacts site={object} />}
              <YamlEditor plural={plural} object={object} can={can} />
              <section className="panel">
                <h2>Events</h2>
                <EventTable kind={kind} name={name} />
              </section>
            </div>
            {dialog}
          </>
        ) : (
          <Empty isPage title={`There is no ${words} ${name}`}>
            <p>
              <Link href="/director">Director</Link>
            </p>
          </Empty>
        )
      }
    </Ready>
  );
}

const isPower = (object: PowerPolicy | Site): object is PowerPolicy => "spareHosts" in object.spec;

function Power({ policy: { spec, status } }: { policy: PowerPolicy }) {
  return (
    <div className="split">
      <section className="panel">
        <h2>Hosts</h2>
        <dl className="facts body">
          <dt>Has the say over</dt>
          <dd>{status?.hosts ?? 0}</dd>
          <dt>On</dt>
          <dd>
            {status?.on ?? 0}, {spec.spareHosts} of them to spare
          </dd>
          <dt>Off by it</dt>
          <dd>{status?.off ?? 0}</dd>
          <dt>Stays on, off</dt>
          <dd>
            at least {spec.minOnMinutes} and {spec.minOffMinutes} minutes
          </dd>
        </dl>
      </section>
      <section className="panel">
        <h2>What it would do</h2>
        {(status?.advised ?? []).length === 0 ? (
          <p className="body muted">
            {spec.automation === "act" ? "It does it by itself; events tell." : "Nothing now."}
          </p>
        ) : (
          <ul className="lines">
            {status?.advised?.map(({ host, power, reason }) => (
              <li key={host}>
                <Link href={`/hosts/${host}`}>{host}</Link> <Badge tone="idle">{power}</Badge>
                <span className="muted">{reason}</span>
              </li>
            ))}
          </ul>
        )}
      </section>
      <Conditions conditions={status?.conditions ?? []} />
    </div>
  );
}

function SiteFacts({ site }: { site: Site }) {
  const hosts = useBrief("hosts");
  const { name } = site.metadata;
  const { pricePerKWh = [], carbonPerKWh = [], pue = [], timeZone } = site.spec;
  const hourly = (values: readonly number[]) =>
    values.length <= 1 ? (values[0] ?? "–") : `${Math.min(...values)} to ${Math.max(...values)}, by the hour`;
  return (
    <section className="panel">
      <h2>Site</h2>
      <dl className="facts body">
        <dt>Now</dt>
        <dd>
          {siteLines({ hosts: hosts.list, loads: new Map(), sites: [site] }).get(name) ?? "no host is there"}
        </dd>
        <dt>Price of a kWh</dt>
        <dd>{hourly(pricePerKWh)}</dd>
        <dt>CO2 of a kWh</dt>
        <dd>{hourly(carbonPerKWh)}</dd>
        <dt>Power usage effectiveness</dt>
        <dd>{hourly(pue)}</dd>
        <dt>Time zone</dt>
        <dd>{timeZone}</dd>
      </dl>
    </section>
  );
}
