/**
 * Whether an application needs a package, by trial: it runs again without the package's files, and either does the same or does not. The run, not the analysis, is what decides.
 */
import { spawn } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { quoted } from "../src/images/analyze/trace.ts";
import { run } from "../src/system/run.ts";

const LIMIT_MS = 180_000;
/** No program reads these but those that show them. */
const ASIDE = /^\/?usr\/share\/(?:doc|man|info|lintian|bug|locale)\//;
const ENV = "TERM=vt102 PYTHONDONTWRITEBYTECODE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root".split(" ");

/**
 * For a shell: the command in that root file system, with devices and processes as on a system. What it writes is gone with it (overlayfs), and so is what is mounted.
 * @param folder where it writes meanwhile @param without a file with paths to be taken away before, each with a 0 behind it
 */
export async function commandIn(
  root: string,
  command: string,
  folder: string,
  without?: string,
): Promise<string> {
  const [upper, work] = [await mkdtemp(join(folder, "upper-")), await mkdtemp(join(folder, "work-"))];
  // It is "/" for users other than root, too.
  await chmod(upper, 0o755);
  const mounts = [
    `mount -t overlay overlay -o lowerdir=${root},upperdir=${upper},workdir=${work} ${root}`,
    ...(without ? [`(cd ${root} && xargs -0 rm -f) < ${without}`] : []),
    `mount --rbind /dev ${root}/dev`,
    `mount -t proc proc ${root}/proc`,
  ];
  const inside = ["chroot", root, "/usr/bin/env", "-i", ...ENV, "sh", "-c", command];
  return quoted(["unshare", "--mount", "sh", "-c", `${mounts.join(" && ")} && exec ${quoted(inside)}`]);
}

/** How it ended; undefined when it had to be ended. Of numbers that it printed (times, processes, digests) only that they are there. */
type Behaviour = { code: number | null; lines: ReadonlySet<string> } | undefined;

/**
 * @param root with all packages; stays as it is @param debs of the packages that are tried, by their names
 * @returns those without which the run does the same; none that cannot be tried: with no more than documentation, or of a run that does not end
 */
export async function unneededOf(
  debs: ReadonlyMap<string, string>,
  { root, command, folder }: { root: string; command: string; folder: string },
): Promise<Set<string>> {
  const unneeded = new Set<string>();
  if (debs.size === 0) return unneeded;
  const at = await mkdtemp(join(folder, "trial-"));
  const trial = async (without?: string) => behaviour(await commandIn(root, command, at, without));
  try {
    const whole = [await trial(), await trial()];
    // One that says nothing shows nothing.
    if (!whole.every((each) => each && each.lines.size > 1)) return unneeded;
    for (const [name, deb] of debs) {
      const paths = (await run("sh", ["-c", 'dpkg-deb --fsys-tarfile "$0" | tar -t', deb]))
        .split("\n")
        .map((path) => path.replace(/^\.\//, ""))
        .filter((path) => path && !path.endsWith("/") && !ASIDE.test(path));
      const list = join(folder, "without");
      await writeFile(list, paths.map((path) => `${path}\0`).join(""));
      if (paths.length > 0 && isSame(await trial(list), whole)) unneeded.add(name);
    }
    return unneeded;
  } finally {
    await rm(at, { recursive: true, force: true });
  }
}

/** All that it always prints, and nothing that it never does. */
function isSame(other: Behaviour, whole: readonly Behaviour[]): boolean {
  if (!other) return false;
  const always = (line: string) => whole.every((each) => each?.lines.has(line));
  const ever = (line: string) => whole.some((each) => each?.lines.has(line));
  return (
    whole.every((each) => each?.code === other.code) &&
    [...other.lines].every(ever) &&
    [...(whole[0]?.lines ?? [])].filter(always).every((line) => other.lines.has(line))
  );
}

function behaviour(command: string): Promise<Behaviour> {
  return new Promise((resolve, reject) => {
    // A group of its own: all of it can be ended.
    const child = spawn("sh", ["-c", `exec ${command} 2>&1`], {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    });
    let text = "";
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, LIMIT_MS);
    child.stdout.setEncoding("latin1").on("data", (part: string) => (text += part));
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(late);
      resolve(
        isLate
          ? undefined
          : { code, lines: new Set(text.replace(/\b[0-9a-f]{16,}\b|[0-9]+/g, "0").split("\n")) },
      );
    });
  });
}
