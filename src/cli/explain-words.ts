/** What `vireo explain vm/NAME` and `host/NAME` print of the server's answer. Pure. */
import type { Host } from "../compute/hosts/kinds.ts";
import type { Placed, PowerTold } from "../director/planning/answers.ts";
import { pendingOf, WAKE_TEST_DUE } from "../power/kinds.ts";
import { getCondition } from "../resource/object.ts";

type Print = (line: string) => void;

const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? "" : "s"}`;

export function describePlaced(placed: Placed, print: Print): void {
  const { about, policies, moves, latency, use } = placed;
  if (policies.length === 0) print("policies  none; balanced");
  for (const [i, { name, goal, score, says = [] }] of policies.entries()) {
    const part = score === undefined ? "" : `: ${score.toFixed(2)} of its score on ${about}`;
    print(`${i === 0 ? "policies" : "        "}  ${name} (${goal})${part}`);
    for (const line of says) print(`            ${line}`);
  }
  if (moves) print(`moves     ${moves}`);
  if (latency) print(`latency   ${latency}`);
  if (use) print(`uses      ${use}`);
  print("hosts     as they would be judged now, the best first:");
  describeHosts(placed, print);
}

function describeHosts({ hosts, others }: Placed, print: Print): void {
  const more = (line: string) => print(`${" ".repeat(17)}${line}`);
  for (const { name, chosen, verdict, against, compared } of hosts) {
    const several = against && against.length > 1;
    const told = several ? `ruled out, for ${counted(against.length, "reason")}:` : verdict;
    print(`  ${chosen ? "*" : " "} ${name.padEnd(12)} ${told}`);
    if (several) for (const { why } of against) more(`- ${why}`);
    if (compared) more(compared);
  }
  if (!others) return;
  if (others.possible > 0) print(`    ${counted(others.possible, "more host")} could have it`);
  if (others.ruledOut > 0)
    print(`    ${counted(others.ruledOut, "more host")} ${others.ruledOut === 1 ? "is" : "are"} ruled out`);
  for (const { hosts: count, names, against } of others.alike ?? [])
    more(`${count} (${names.join(", ")}${count > names.length ? ", …" : ""}): ${against.join("; ")}`);
}

/** Why it is on or off, with what was wanted before and came of it. */
export function describePower(host: Host, { why, forecast }: PowerTold, print: Print): void {
  const { power, conditions } = host.status ?? {};
  const due = getCondition(conditions, WAKE_TEST_DUE);
  const { lastWakeTest: last } = power ?? {};
  const pending = pendingOf(host);
  print(`host/${host.metadata.name}`);
  print(`power     ${power?.state ?? "not known"}${pending ? `, to be ${pending.power}` : ""}`);
  print(`why       ${why}`);
  if (due?.status === "True") print(`test      ${due.message}`);
  if (last) print(`tested    ${last.startedTime}, ${last.passed ? "passed" : "failed"}: ${last.message}`);
  if (power?.boots?.length) print(`boots     ${power.boots.join(", ")} s, the newest last`);
  for (const { since, power: what, succeeded, message } of power?.past ?? [])
    print(`          ${since} ${what}${succeeded ? "" : " failed"}: ${message}`);
  if (forecast) print(`forecast  ${forecast}`);
}
