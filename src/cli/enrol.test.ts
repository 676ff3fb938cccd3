import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { enrolHosts } from "./enrol.ts";
import { statePaths } from "./paths.ts";
import { type UpRecord, writeRecord } from "./record.ts";

it("makes no file of a control plane that other machines do not reach", async () => {
  const paths = statePaths(mkdtempSync(join(tmpdir(), "vireo-enrol-")));
  try {
    mkdirSync(paths.pki);
    writeFileSync(paths.kubeconfig, "");
    const of = (record: Partial<UpRecord>) => {
      const daemon = { name: "control-plane", args: ["server"], log: "x.log", pid: 1, startTime: "2" };
      writeRecord(paths, { port: 6443, controlPlanes: [daemon], agents: [], ...record });
      return enrolHosts(paths, join(paths.state, "host.json"), () => {});
    };
    await expect(of({})).rejects.toThrow(/listens on 127.0.0.1 alone.*--address/);
    await expect(of({ network: { bridge: "vrd0", prefix: "10.250.3", hosts: [] } })).rejects.toThrow(
      /development hosts.*--address/,
    );
  } finally {
    rmSync(paths.state, { recursive: true });
  }
});
