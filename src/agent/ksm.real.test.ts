/** Whose memory the kernel may merge: of one project alone, on a real QEMU; and that it does, where this kernel lets us. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { setKsm } from "./ksm.ts";
import { moveLive, RealMachines, until } from "./testing/real-machines.ts";

const machines = new RealMachines();
/** VmFlags of a mapping that KSM looks at. */
const isMergeable = (pid: number) => /^VmFlags:.*\bmg\b/m.test(readFileSync(`/proc/${pid}/smaps`, "utf8"));
const of = (mergeWith?: string) => machines.machine("busy", mergeWith ? { mergeWith } : {});

describe("machines", () => {
  it("may be merged with those of their project, and no others beside them", async () => {
    const host = machines.hypervisor("a");
    const [one, other] = [of("ci"), of("shop")];
    expect(isMergeable((await machines.start(host, of())).pid)).toBe(false);
    expect(isMergeable((await machines.start(host, one)).pid)).toBe(true);
    expect(isMergeable((await machines.start(host, other)).pid)).toBe(false);
    expect(isMergeable((await machines.start(host, of("ci"))).pid)).toBe(true);
    // It moves to a host where it may not be merged, and back to one where it may.
    const target = machines.hypervisor("b");
    const { mergeWith: _, ...there } = { ...one, id: of().id };
    await machines.start(target, there, "incoming");
    await moveLive(host, one.id, target, there.id);
    expect(isMergeable((await target.get(there.id))?.pid ?? 0)).toBe(false);
  }, 60_000);
});

describe("the kernel", () => {
  const KSM = "/sys/kernel/mm/ksm";
  const read = (file: string) => readFileSync(join(KSM, file), "utf8").trim();
  let before: Record<string, string>;
  beforeEach(() => {
    try {
      before = Object.fromEntries(["run", "pages_to_scan"].map((file) => [file, read(file)]));
    } catch {
      before = {};
    }
  });
  afterEach(() => {
    for (const [file, value] of Object.entries(before))
      try {
        writeFileSync(join(KSM, file), value);
      } catch {
        // Not root: then nothing was changed.
      }
  });

  it("merges what is alike, and undoes it when that is called off", async ({ skip }) => {
    skip(setKsm("ci", undefined)?.state !== "On", "this kernel does not let us");
    writeFileSync(join(KSM, "pages_to_scan"), "5000");
    const host = machines.hypervisor("a");
    for (let i = 0; i < 2; i++) await machines.start(host, of("ci"));
    await until(() => Number(read("pages_sharing")) > 0 || undefined, 60_000);
    expect(setKsm(undefined, { state: "On", namespace: "ci" })).toEqual({ state: "Off" });
    expect(read("run")).toBe("2");
    await until(() => Number(read("pages_sharing")) === 0 || undefined, 60_000);
  }, 150_000);
});

describe("what is told", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "vireo-ksm-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const run = (value?: string) => {
    if (value !== undefined) writeFileSync(join(folder, "run"), value);
    return readFileSync(join(folder, "run"), "utf8");
  };

  it("is what was done; what others have switched on is left alone", () => {
    run("1");
    expect(setKsm(undefined, undefined, folder)).toBeUndefined();
    expect(run()).toBe("1");
    run("0");
    expect(setKsm("ci", undefined, folder)).toEqual({ state: "On", namespace: "ci" });
    expect(run()).toBe("1");
    expect(setKsm("shop", { state: "On", namespace: "ci" }, folder)).toEqual({
      state: "On",
      namespace: "shop",
    });
    expect(setKsm(undefined, { state: "On", namespace: "shop" }, folder)).toEqual({ state: "Off" });
    expect(run()).toBe("2");
    rmSync(join(folder, "run"));
    const failed = setKsm("ci", undefined, join(folder, "none"));
    expect(failed).toMatchObject({
      state: "Failed",
      message: expect.stringContaining("its kernel has no KSM"),
    });
  });
});
