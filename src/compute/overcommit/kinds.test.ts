/** What a host gives out, and that no more is taken of it. */
import { expect, it } from "vitest";
import { tableOf } from "../../api/table.ts";
import { register } from "../../resource/kind.ts";
import { lackOfRoom } from "../capacity.ts";
import { Host } from "../hosts/kinds.ts";
import { openControlPlane } from "../testing/control-plane.ts";
import { declaredFacts, openEstate } from "../testing/estate.ts";
import { givenOutBy } from "./given-out.ts";
import type { HostOvercommit } from "./kinds.ts";

const GiB = 2 ** 30;

const hostOf = (overcommit: HostOvercommit | undefined, swapBytes?: number): Host => ({
  apiVersion: "vireo.dev/v1",
  kind: "Host",
  metadata: { name: "a" },
  spec: overcommit ? { overcommit } : {},
  status: {
    // Of four logical processors.
    capacity: { cpus: 8, memory: "10Gi", dedicatedCpus: 3 },
    facts: declaredFacts("a", {
      memory: { totalBytes: 11 * GiB, modules: [], ...(swapBytes === undefined ? {} : { swapBytes }) },
    }),
  },
});

it.each([
  [undefined, undefined, 8, 10],
  [{ cpu: 6 }, undefined, 24, 10],
  [{ cpu: 1 }, undefined, 4, 10],
  [{ memory: 0.5 }, undefined, 8, 5],
  // More than there is only as far as there is swap.
  [{ memory: 1.5 }, undefined, 8, 10],
  [{ memory: 1.5 }, 0, 8, 10],
  [{ memory: 1.5 }, 2 * GiB, 8, 12],
  [{ memory: 1.5 }, 64 * GiB, 8, 15],
  // Swap by itself gives nothing.
  [undefined, 64 * GiB, 8, 10],
])("with %j and %s bytes of swap: %s CPUs, %s GiB", (overcommit, swap, cpus, gib) => {
  expect(givenOutBy(hostOf(overcommit, swap))).toMatchObject({ cpus, memoryBytes: gib * GiB });
});

it("kubectl get hosts prints what it gives out", () => {
  const printed = (host: Host) => {
    const { columnDefinitions, rows } = tableOf(register(Host), [host], {
      metadata: {},
      version: "v1",
      include: "None",
    });
    const cells = rows[0]?.cells ?? [];
    return ["CPUs", "Memory"].map((head) => cells[columnDefinitions.findIndex(({ name }) => name === head)]);
  };
  expect(printed(hostOf(undefined))).toEqual([8, "10Gi"]);
  expect(printed(hostOf({ cpu: 6, memory: 1.5 }, 2 * GiB))).toEqual([24, "12Gi"]);
  const { apiVersion, kind, metadata, spec } = hostOf(undefined);
  expect(printed({ apiVersion, kind, metadata, spec })).toEqual([null, null]);
});

const demand = (cpus: number, memory: string, resources = {}) => ({ cpus, memory, resources, vmUid: "m" });

it("says why there is no room, and what its swap has to do with it", () => {
  const host = hostOf({ cpu: 4, memory: 1.5 }, 2 * GiB);
  expect(lackOfRoom(host, demand(16, "12Gi"), [])).toBeUndefined();
  expect(lackOfRoom(host, demand(17, "1Gi"), [])).toBe("host a has 16 of 16 CPUs free, the machine needs 17");
  expect(lackOfRoom(host, demand(1, "13Gi"), [])).toBe(
    "host a has 12Gi of 12Gi memory free, the machine needs 13Gi; its swap of 2Gi backs no more of spec.overcommit.memory (1.5)",
  );
});

it("a host that gives out more CPUs than two for each gives none to one machine alone", () => {
  const own = demand(1, "1Gi", { dedicatedCpus: true });
  expect(lackOfRoom(hostOf({ cpu: 2 }), own, [])).toBeUndefined();
  expect(lackOfRoom(hostOf({ cpu: 3 }), own, [])).toMatch(/has no CPUs to give to one machine alone/);
});

it("is within what can be answered for", async () => {
  const plane = await openControlPlane();
  try {
    const wrong = (overcommit: object) =>
      plane.client.create(Host, { metadata: { name: "x" }, spec: { overcommit } }).then(() => "", String);
    expect(await wrong({ memory: 2.5 })).toContain("spec.overcommit.memory");
    expect(await wrong({ cpu: 17 })).toContain("spec.overcommit.cpu");
    expect(await wrong({})).toContain("say cpu or memory");
    expect(await wrong({ cpu: 8, memory: 2 })).toBe("");
  } finally {
    await plane.close();
  }
});

it("the server binds to a host as much as it gives out, and no more", async () => {
  const estate = await openEstate();
  try {
    // A host of 1 GiB.
    await estate.hostFacts("a", { memory: { totalBytes: GiB, swapBytes: GiB, modules: [] } });
    const bindAll = async (...names: string[]) => {
      for (const name of names) {
        await estate.createMachine(name, { memory: "600Mi" });
        await estate.instance(`${name}-1`);
        await estate.bind(`${name}-1`, "a");
      }
    };
    await expect(bindAll("m1", "m2")).rejects.toThrow("424Mi of 1Gi memory free, the machine needs 600Mi");
    await estate.client.patch(Host, { name: "a" }, { spec: { overcommit: { memory: 1.5 } } });
    await estate.bind("m2-1", "a");
    await expect(bindAll("m3")).rejects.toThrow("336Mi of 1536Mi memory free, the machine needs 600Mi");
  } finally {
    await estate.close();
  }
});
