/** This machine: whether it can run guests, and has room. */
import { existsSync, statfsSync } from "node:fs";
import { readOffers } from "../../agent/offers.ts";
import { OFFER_NAMES, OFFERS } from "../../compute/hardware/kinds.ts";
import { probeAccelerator } from "../../qemu/accelerator.ts";
import { run, succeeds } from "../../system/run.ts";
import type { StatePaths } from "../paths.ts";
import { type Finding, ok, problem, size, warning } from "./finding.ts";

/** Programs, and the Debian packages that bring them. */
const PROGRAMS = {
  "qemu-system-x86_64": "qemu-system-x86",
  "qemu-img": "qemu-utils",
  ip: "iproute2",
  nft: "nftables",
  dnsmasq: "dnsmasq-base",
};

export async function checkMachine(paths: StatePaths): Promise<Finding[]> {
  const missing = await Promise.all(
    Object.entries(PROGRAMS).map(async ([program, aptPackage]) =>
      (await succeeds("sh", ["-c", `command -v ${program}`])) ? [] : [aptPackage],
    ),
  );
  const packages = missing.flat();
  if (packages.length > 0)
    return [
      problem(
        `packages are missing: ${packages.join(", ")}`,
        `apt-get install ${packages.join(" ")}, or \`vireo up\``,
      ),
    ];
  const version =
    /version (\S+)/.exec(await run("qemu-system-x86_64", ["--version"]))?.[1] ?? "of unknown version";
  const { accelerator, reason } = await probeAccelerator();
  const qemu = `QEMU ${version} with ${accelerator.toUpperCase()}: ${reason}`;
  return [
    accelerator === "kvm"
      ? ok(qemu)
      : warning(
          qemu,
          "guests run, but slowly; on hardware of your own, enable virtualization in the firmware",
        ),
    await confinement(),
    ...(await optional()),
    ...room(paths.state),
  ];
}

/** Whether machines can be kept from each other's files: system/enclosure.ts. */
async function confinement(): Promise<Finding> {
  if (process.getuid?.() !== 0)
    return warning(
      "not looked at as root: whether each machine's QEMU can be enclosed is not known; an agent that is not root does not enclose them",
      "run the doctor, and agents, as root",
    );
  return (await succeeds("unshare", [
    "--mount",
    "--propagation",
    "private",
    "mount",
    "-t",
    "tmpfs",
    "none",
    "/mnt",
  ]))
    ? ok("each machine's QEMU sees only its own files")
    : problem(
        "root may not make mount namespaces here, so no machine starts: QEMU has to be kept from others' files",
        "is this a container? Give it CAP_SYS_ADMIN, or run the agent on the host itself",
      );
}

/** What only some guests need: nothing is wrong without it. */
async function optional(): Promise<Finding[]> {
  const has = await readOffers();
  return OFFER_NAMES.filter((offer) => !has.includes(offer)).map((offer) =>
    ok(
      `without ${OFFERS[offer].what}: for such guests, apt-get install ${OFFERS[offer].package} and start the agent anew`,
    ),
  );
}

function room(folder: string): Finding[] {
  if (!existsSync(folder)) return [];
  const { bavail, blocks, bsize } = statfsSync(folder);
  const percent = Math.floor((100 * bavail) / Math.max(1, blocks));
  const what = `${folder}: ${size(bavail * bsize)} free, ${percent} %`;
  const fix = "make room: machines stand still when their disks cannot be written";
  if (percent < 3) return [problem(what, fix)];
  return [percent < 10 ? warning(what, fix) : ok(what)];
}
