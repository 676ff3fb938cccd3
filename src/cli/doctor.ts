/** `vireo doctor`: looks at every part, changes nothing, and says of each finding from where it looks. */
import { existsSync } from "node:fs";
import { connect, openConnection } from "./connect.ts";
import { checkControlPlanes, checkStore, controlPlaneUrls } from "./doctor/control-planes.ts";
import { checkHosts, checkMachines, checkStored, checkWork } from "./doctor/estate.ts";
import { counted, type Level, type Section, section } from "./doctor/finding.ts";
import { agentHosts, checkAudit, checkFiles, checkLogs, checkProcesses } from "./doctor/installation.ts";
import { checkMachine } from "./doctor/machine.ts";
import type { StatePaths } from "./paths.ts";
import { version } from "./version.ts";

/** @returns whether nothing is a problem */
export async function doctor(
  paths: StatePaths,
  options: { output?: "json" },
  print: (line: string) => void,
): Promise<boolean> {
  const sections = await Promise.all([
    section("machine", "this machine", () => checkMachine(paths)),
    ...(existsSync(paths.state) ? ofInstallation(paths) : []),
    ...ofApi(paths),
  ]);
  const levels = sections.flatMap(({ findings }) => findings.map(({ level }) => level));
  const count = (level: Level) => levels.filter((each) => each === level).length;
  if (options.output === "json") print(JSON.stringify({ sections }, undefined, 2));
  else {
    for (const each of sections) show(each, print);
    print(
      `${counted(count("problem"), "problem")}, ${counted(count("warning"), "warning")}, ${count("unknown")} not known, ${count("ok")} ok`,
    );
  }
  return count("problem") === 0;
}

function ofInstallation(paths: StatePaths): Promise<Section>[] {
  return [
    section("files", paths.state, () => checkFiles(paths)),
    section("processes", paths.record, () => checkProcesses(paths)),
    section("logs", paths.logs, () => checkLogs(paths)),
    section("audit log", `${paths.state}/audit`, () => checkAudit(paths)),
    section("store", "each member by itself", () => checkStore(paths)),
  ];
}

function ofApi(paths: StatePaths): Promise<Section>[] {
  let connection: ReturnType<typeof openConnection>;
  try {
    connection = openConnection(paths);
  } catch (error) {
    return [
      section("control planes", "the kubeconfig", () => {
        throw error;
      }),
    ];
  }
  const { client, file, url } = connection;
  const view = "as the API tells it";
  const estate = [
    section("hosts", view, () => checkHosts(client, version(), agentHosts(paths))),
    section("machines", view, () => checkMachines(client)),
    section("work", view, () => checkWork(client)),
    section("stored objects", view, () => checkStored(client)),
  ];
  void Promise.all(estate).then(() => client.close());
  return [
    section("control planes", "each by itself", () =>
      checkControlPlanes(controlPlaneUrls(paths, url), (one) => connect(file, [one])),
    ),
    ...estate,
  ];
}

const SIGNS: Record<Level, string> = { ok: "ok", warning: "warning", problem: "PROBLEM", unknown: "unknown" };

function show({ name, view, findings }: Section, print: (line: string) => void): void {
  print(`${name} (${view})`);
  for (const { level, what, fix } of findings) {
    print(`  ${SIGNS[level].padEnd(8)} ${what}`);
    if (fix) print(`           -> ${fix}`);
  }
}
