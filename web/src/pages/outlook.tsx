/** What a plan changes, before and after: the estate in all, and each host that its moves leave or reach, what changes most first. */

import type { Outlook as OutlookOf } from "../../../src/director/planning/kinds.ts";
import { type Change, changesOf, untoldOf } from "../../../src/director/planning/outlook-words.ts";
import { size } from "../../ui/basics.tsx";
import { Link } from "../router.tsx";

/** All of these are better when they are less. */
const toneOf = ({ before, after }: Change) => (after < before ? "better" : after > before ? "worse" : "same");
const WORDS = { better: "less", worse: "more", same: "as before" } as const;

/** "3 → 2", with what that means by its colour and in words. */
export function Changes({ outlook }: { outlook: OutlookOf }) {
  return (
    <dl className="changes">
      {changesOf(outlook).map((change) => {
        const { name, before, after, text } = change;
        const tone = toneOf(change);
        return (
          <div key={name} className={`change ${tone}`}>
            <dt>{name}</dt>
            <dd>
              {before === after ? (
                <b>{text(after)}</b>
              ) : (
                <>
                  <span className="muted">{text(before)}</span> <span aria-hidden="true">→</span>
                  <span className="unseen">, then</span> <b>{text(after)}</b>
                </>
              )}{" "}
              <span className="small by">
                {before === after ? WORDS.same : `${text(Math.abs(after - before))} ${WORDS[tone]}`}
              </span>
            </dd>
          </div>
        );
      })}
    </dl>
  );
}

interface Bars {
  label: string;
  before: number | undefined;
  after: number | undefined;
  /** What both are parts of. */
  of: number | undefined;
  text: (value: number) => string;
}

/** Before above after, as parts of what the host has. */
function Both({ label, before, after, of, text }: Bars) {
  if (before === undefined || after === undefined) return <span className="muted">not told</span>;
  const width = (value: number) => `${of ? Math.max(0, Math.min(100, (100 * value) / of)) : 0}%`;
  const [was, will] = [text(before), text(after)];
  const words = was === will ? will : `${was} → ${will}`;
  return (
    <div className="both">
      <span className="nowrap">{words}</span>
      {of !== undefined && (
        <span
          className="bars"
          role="img"
          aria-label={`${label}: ${text(before)} before, ${text(after)} after, of ${text(of)}`}
          title={`of ${text(of)}`}
        >
          <span className="was" style={{ width: width(before) }} />
          <span className={after > of ? "will high" : "will"} style={{ width: width(after) }} />
        </span>
      )}
    </div>
  );
}

const whole = (value: number) => value.toLocaleString("en-US");

/** What a host gives out or takes, of what it has. */
const MEASURES: readonly {
  head: string;
  of: (figures: { cpus: number; memoryBytes: number; watts?: number | undefined }) => number | undefined;
  text: (value: number) => string;
}[] = [
  { head: "CPUs", of: ({ cpus }) => cpus, text: whole },
  { head: "Memory", of: ({ memoryBytes }) => memoryBytes, text: size },
  { head: "Watts", of: ({ watts }) => watts, text: (value) => `${whole(Math.round(value))} W` },
];

/** @param note what else there is to say of it */
export function Outlook({ outlook, note }: { outlook: OutlookOf; note?: string | undefined }) {
  const untold = untoldOf(outlook);
  return (
    <section className="panel">
      <h2>Before and after</h2>
      <div className="body stack">
        {note && <p className="muted">{note}</p>}
        <Changes outlook={outlook} />
        {untold && <p className="muted small">{untold}</p>}
        <table className="outlook">
          <thead>
            <tr>
              <th scope="col">Host</th>
              <th scope="col">Machines</th>
              {MEASURES.map(({ head }) => (
                <th key={head} scope="col">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {outlook.hosts.map(({ name, capacity, before, after }) => (
              <tr key={name}>
                <th scope="row">
                  <Link href={`/hosts/${name}`}>{name}</Link>
                  {after.machines === 0 && before.machines > 0 && <span className="label">emptied</span>}
                  {before.machines === 0 && after.machines > 0 && (
                    <span className="label">taken into use</span>
                  )}
                </th>
                <td data-head="Machines">
                  {before.machines === after.machines
                    ? after.machines
                    : `${before.machines} → ${after.machines}`}
                </td>
                {MEASURES.map(({ head, of, text }) => (
                  <td key={head} data-head={head}>
                    <Both
                      label={`${head} of ${name}`}
                      before={of(before)}
                      after={of(after)}
                      of={of(capacity)}
                      text={text}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {outlook.moreHosts && <p className="muted">And {outlook.moreHosts} hosts more, which change less.</p>}
        <p className="muted small">
          CPUs and memory as given out to machines; watts by the hosts' power figures and the CPUs given out.
          A host without machines need not be on.
        </p>
      </div>
    </section>
  );
}
