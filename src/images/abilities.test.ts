/** What is said to be possible here is what this machine has. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { getCondition } from "../resource/object.ts";
import { abilitiesOf } from "./abilities.ts";
import type { Distribution } from "./kinds.ts";
import type { Ability } from "./shared.ts";
import { SealedError } from "./workshop/sealed.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-programs-"));
  vi.stubEnv("PATH", folder);
  vi.spyOn(process, "getuid").mockReturnValue(0);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const install = (...programs: string[]) => {
  for (const name of programs) {
    writeFileSync(join(folder, name), "");
    chmodSync(join(folder, name), 0o755);
  }
};
const LEAP = { distribution: "opensuse", release: "leap-15.6" } as const;
const NOBLE = { distribution: "ubuntu", release: "noble" } as const;
const BOOKWORM = { distribution: "debian", release: "bookworm" } as const;
async function said(spec: Distribution["spec"], type: Ability, namespaces = async () => {}) {
  const time = { lastTransitionTime: "" };
  const probes = { namespaces, seal: async () => undefined };
  const all = (await abilitiesOf(spec, probes)).map((each) => ({ ...each, ...time }));
  const found = getCondition(all, type);
  return found?.status === "True" ? "yes" : `${found?.reason}: ${found?.message}`;
}

it("images of RPMs take their distribution's tool", async () => {
  install("zypper");
  expect(await said(LEAP, "FullBuildable")).toMatch(
    /^ToolMissing: images of openSUSE Leap 15\.6 are built by zypper, .* lacks rpm rpm2cpio; install/,
  );
  install("rpmkeys", "rpm2cpio");
  expect(await said(LEAP, "FullBuildable")).toBe("yes");
  expect(await said(LEAP, "SlimBuildable")).toMatch(/^NoSuchMode: images of openSUSE Leap 15\.6 are full: /);
  expect(await said(LEAP, "PickerAvailable")).toMatch(/^NoLists: packages of opensuse-leap-15\.6 cannot/);
});

it("full images take root, namespaces and mmdebstrap; slim ones none of them, but namespaces for strangers' packages", async () => {
  expect(await said(BOOKWORM, "FullBuildable")).toMatch(/^ToolMissing: .* mmdebstrap/);
  install("mmdebstrap");
  expect(await said(BOOKWORM, "FullBuildable")).toBe("yes");
  const refused = () => Promise.reject(new Error("unshare: Operation not permitted"));
  expect(await said(BOOKWORM, "FullBuildable", refused)).toMatch(/^NoNamespaces: .*Operation not permitted/);
  // What full images take is no matter to them.
  const slim = async (lack: Error | undefined) => {
    const seal = async () => {
      if (lack && !(lack instanceof SealedError)) throw lack;
      return lack;
    };
    const all = await abilitiesOf(BOOKWORM, { namespaces: refused, seal });
    return all.find(({ type }) => type === "SlimBuildable");
  };
  expect(await slim(undefined)).toMatchObject({
    status: "True",
    message: expect.stringMatching(/built here$/),
  });
  expect(await slim(new SealedError("unshare: Operation not permitted"))).toMatchObject({
    status: "True",
    message: expect.stringMatching(
      /built here, but not with recipe\.repositories or recipe\.mirror\.key: .*CAP_SYS_ADMIN/,
    ),
  });
  expect(await slim(new Error("ENOSPC: no space left on device, mkdtemp"))).toMatchObject({
    status: "True",
    message: expect.stringMatching(/built here, but not with .*recipe\.mirror\.key: ENOSPC: no space left/),
  });
  vi.spyOn(process, "getuid").mockReturnValue(1000);
  expect(await said(BOOKWORM, "FullBuildable")).toMatch(/^NotRoot: .* as user 1000/);
  expect(await said(BOOKWORM, "SlimBuildable")).toBe("yes");
});

it("packages are picked where their lists can be checked", async () => {
  expect(await said(BOOKWORM, "KeysAvailable")).toBe("yes");
  expect(await said(BOOKWORM, "PickerAvailable")).toBe("yes");
  expect(await said(NOBLE, "KeysAvailable")).toMatch(/^NoKeys: .*recipe\.mirror\.key/);
  expect(await said(NOBLE, "PickerAvailable")).toMatch(/^NoKeys: .* no keys of Ubuntu 24\.04/);
});
