/** What the director says when it is asked over the API: of a machine, of one that there is not yet, of an undo; bounded, and not to everybody. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ADMINS, Pki } from "../api/pki.ts";
import { ClusterRoleBinding, RoleBinding } from "../api/rbac-kinds.ts";
import { type ApiServer, startApiServer } from "../api/server.ts";
import { HttpClient } from "../client/http.ts";
import { overriding } from "../client/testing/overriding.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Network } from "../compute/networks/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { declaredFacts } from "../compute/testing/estate.ts";
import { Image } from "../images/kinds.ts";
import { systemClock } from "../reconcile/clock.ts";
import { ApiError } from "../resource/errors.ts";
import { UsageHistory } from "./estate/usage-history.ts";
import { Plan } from "./planning/kinds.ts";
import { directorSubresources } from "./subresources.ts";

const folder = mkdtempSync(join(tmpdir(), "vireo-director-"));
const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const HOSTS = 60;
let plane: TestControlPlane;
let server: ApiServer;
let pki: Pki;
let admin: HttpClient;
/** With the roles view and edit, of the estate. */
let viewer: HttpClient;
let editor: HttpClient;
const clients: HttpClient[] = [];
/** Of what was kept of the use of machines. */
let reads = 0;
/** Of the estate. */
let estates = 0;
let unanswered = false;
let aheadMs = 0;
let stopped: number | undefined;

function as(name: string, groups: string[] = []): HttpClient {
  const client = new HttpClient({
    url: server.url,
    ca: pki.ca,
    token: pki.tokens.addUser({ name, groups }),
  });
  clients.push(client);
  return client;
}

/** Gives the user a built-in role: of the estate, or of the namespace default. */
async function bind(kind: typeof RoleBinding, user: string, role: string): Promise<void> {
  const at = kind.namespaced ? "/namespaces/default" : "";
  await admin.raw("POST", `/apis/${kind.group}/v1${at}/${kind.plural}`, {
    apiVersion: `${kind.group}/v1`,
    kind: kind.kind,
    metadata: { name: user },
    roleRef: { kind: "ClusterRole", name: role },
    subjects: [{ kind: "User", name: user }],
  });
}

beforeAll(async () => {
  pki = await Pki.open(folder);
  plane = await openControlPlane();
  const { client, service } = plane;
  const counted = overriding(client, {
    list: (kind, options) => {
      if (kind.kind === Host.kind) estates++;
      if (kind.kind !== UsageHistory.kind) return client.list(kind, options);
      reads++;
      return unanswered
        ? Promise.reject(new ApiError("ServiceUnavailable", "the store does not answer"))
        : client.list(kind, options);
    },
  });
  const clock = { ...systemClock, now: () => new Date((stopped ?? Date.now()) + aheadMs) };
  const subresources = directorSubresources(counted, clock);
  server = await startApiServer({ service, pki, host: "127.0.0.1", port: 0, subresources });
  [admin, viewer, editor] = [as("admin", [ADMINS]), as("viewer"), as("editor")];
  await bind(ClusterRoleBinding, "viewer", "view");
  await bind(ClusterRoleBinding, "editor", "edit");
  await client.create(Network, { metadata: { name: "default" }, spec: { subnet: "10.0.0.0/16" } });
  await client.create(Image, { metadata: { name: "web" }, spec: { file: "web.qcow2" } });
  const now = new Date().toISOString();
  for (let i = 0; i < HOSTS; i++) {
    const host = await client.create(Host, { metadata: { name: `host-${i}` }, spec: {} });
    const ready = {
      type: "Ready",
      status: "True" as const,
      reason: "Heard",
      message: "",
      lastTransitionTime: now,
    };
    // The first five have no room for 2 GiB.
    const capacity = { cpus: 4, memory: i < 5 ? "1Gi" : "8Gi" };
    await client.updateStatus(Host, {
      ...host,
      status: { capacity, facts: declaredFacts(`host-${i}`), conditions: [ready] },
    });
  }
  await client.create(VirtualMachine, {
    metadata: { name: "web-1", namespace: "default" },
    spec: { image: "web", memory: "2Gi", running: false },
  });
});
afterAll(async () => {
  for (const client of clients) client.close();
  await server.close();
  await plane.close();
  rmSync(folder, { recursive: true });
});

it("says of a machine what each host would be to it, of many hosts the best, and how many others there are", async () => {
  const all = await admin.raw("GET", `${VMS}/web-1/placement?limit=100`);
  expect(all).toMatchObject({ kind: "Placement", machine: "default/web-1", policies: [] });
  expect(all).not.toHaveProperty("others");
  expect(await admin.raw("GET", `${VMS}/web-1/placement?limit=2`)).toMatchObject({
    hosts: [{ chosen: false }, { chosen: false }],
    others: {
      possible: HOSTS - 5 - 2,
      ruledOut: 5,
      alike: [{ hosts: 5, names: ["host-0", "host-1", "host-2"], against: ["not enough memory"] }],
    },
  });
  const byDefault = await admin.raw("GET", `${VMS}/web-1/placement`);
  expect(byDefault).toMatchObject({ others: { possible: HOSTS - 5 - 50, ruledOut: 5 } });
  expect(byDefault).toHaveProperty("hosts.length", 50);
  await expect(admin.raw("GET", `${VMS}/nothing/placement`)).rejects.toThrow(
    "knows no machine default/nothing",
  );
  await expect(admin.raw("GET", `${VMS}/web-1/placement?limit=few`)).rejects.toThrow(
    "must be a whole number",
  );
});

it("says where a machine that there is not yet would go, having checked it, and makes none", async () => {
  const vm = (name: string, spec: object) => ({
    apiVersion: "vireo.dev/v1",
    kind: "VirtualMachine",
    metadata: { name, namespace: "default" },
    spec: { image: "web", ...spec },
  });
  const ask = (name: string, body: object) => admin.raw("POST", `${VMS}/${name}/placement`, body);
  expect(await ask("new", vm("new", { memory: "2Gi" }))).toMatchObject({
    placement: {
      host: expect.stringMatching(/^host-([5-9]|\d\d)$/),
      reason: expect.stringMatching(/no policy/),
    },
    hosts: expect.arrayContaining([expect.objectContaining({ verdict: expect.stringMatching(/^score/) })]),
  });
  expect(await ask("huge", vm("huge", { memory: "64Gi" }))).toMatchObject({
    placement: { reason: expect.stringMatching(/memory/i) },
  });
  await expect(ask("new", vm("new", { memory: "17Q" }))).rejects.toThrow(/unknown unit/);
  await expect(ask("new", vm("other", {}))).rejects.toThrow("not a VirtualMachine with metadata.name new");
  await expect(ask("web-1", vm("web-1", { memory: "1Gi" }))).rejects.toThrow("already exists");
  expect((await plane.client.list(VirtualMachine)).items.map(({ metadata }) => metadata.name)).toEqual([
    "web-1",
  ]);
});

it("tells what an undo would be, and what would stay", async () => {
  await plane.client.create(Plan, {
    metadata: { name: "p1" },
    spec: {
      trigger: "a test",
      automation: "act",
      moves: [{ namespace: "default", vm: "gone", from: "host-5", to: "host-6", reason: "", expected: "" }],
    },
  });
  const plan = await plane.client.get(Plan, { name: "p1" });
  if (!plan) throw new Error("it is not there");
  await plane.client.updateStatus(Plan, {
    ...plan,
    status: { phase: "Succeeded", moves: [{ phase: "Succeeded" }] },
  });
  expect(await admin.raw("GET", "/apis/vireo.dev/v1/plans/p1/undo")).toEqual({
    kind: "PlanUndo",
    apiVersion: "vireo.dev/v1",
    kept: [{ namespace: "default", vm: "gone", why: "the machine is gone" }],
  });
  await expect(admin.raw("GET", "/apis/vireo.dev/v1/plans/p2/undo")).rejects.toThrow('"p2" not found');
});

it("says of a host why it is on or off, to who may see the estate", async () => {
  const power = (name: string) => `/apis/vireo.dev/v1/hosts/${name}/power`;
  expect(await viewer.raw("GET", power("host-7"))).toEqual({
    kind: "HostPower",
    apiVersion: "vireo.dev/v1",
    host: "host-7",
    why: "no PowerPolicy that is on has the say over it",
  });
  await admin.raw("POST", "/apis/vireo.dev/v1/powerpolicies", {
    apiVersion: "vireo.dev/v1",
    kind: "PowerPolicy",
    metadata: { name: "frugal" },
    spec: { selector: {} },
  });
  aheadMs += 3000;
  expect(await viewer.raw("GET", power("host-7"))).toMatchObject({
    why: "on: it could not be switched on again: spec.bmc does not say through what",
    forecast: expect.stringContaining("PowerPolicy frugal has not seen an hour like those"),
  });
  await expect(viewer.raw("GET", power("none"))).rejects.toThrow('hosts.vireo.dev "none" not found');
  const owner = as("powers");
  await bind(RoleBinding, "powers", "view");
  await expect(owner.raw("GET", power("host-7"))).rejects.toThrow(/forbidden/);
});

const UNDO = "/apis/vireo.dev/v1/plans/p1/undo";

it("tells what would be planned now, and writes nothing", async () => {
  const before = (await plane.client.list(Plan)).items.length;
  const preview = { kind: "PlanPreview", apiVersion: "vireo.dev/v1", plans: [], broken: [] };
  expect(await viewer.raw("GET", "/apis/vireo.dev/v1/plans/next/preview")).toEqual(preview);
  expect((await plane.client.list(Plan)).items).toHaveLength(before);
  const owner = as("previews");
  await bind(RoleBinding, "previews", "view");
  await expect(owner.raw("GET", "/apis/vireo.dev/v1/plans/next/preview")).rejects.toThrow(/forbidden/);
});

it("is for who views or edits the estate; what an undo would be, for who edits it", async () => {
  expect(await viewer.raw("GET", `${VMS}/web-1/placement`)).toMatchObject({ kind: "Placement" });
  await expect(viewer.raw("GET", UNDO)).rejects.toThrow(/cannot get resource "plans\/undo"/);
  expect(await editor.raw("GET", UNDO)).toMatchObject({ kind: "PlanUndo" });
  expect(await editor.raw("GET", `${VMS}/web-1/placement`)).toMatchObject({ kind: "Placement" });
});

it.each(["view", "cluster-admin"])(
  "is not for the role %s of a namespace, which may get it: it tells of hosts and of policies of others",
  async (role) => {
    const name = `owner-${role}`;
    const owner = as(name);
    await bind(RoleBinding, name, role);
    expect(await owner.raw("GET", `${VMS}/web-1`)).toMatchObject({ kind: "VirtualMachine" });
    const hidden = `hosts.vireo.dev is forbidden: User "${name}" cannot list resource "hosts"`;
    await expect(owner.raw("GET", `${VMS}/web-1/placement`)).rejects.toThrow(hidden);
    await expect(owner.raw("POST", `${VMS}/new/placement`, {})).rejects.toThrow(hidden);
    await expect(owner.raw("GET", UNDO)).rejects.toThrow(/cannot get resource "plans\/undo"/);
  },
);

it("where nobody leads, what was kept of the use of machines is read once a minute, not for each question", async () => {
  const vm = {
    apiVersion: "vireo.dev/v1",
    kind: "VirtualMachine",
    metadata: { name: "new" },
    spec: { image: "web", memory: "1Gi" },
  };
  const ask = () => admin.raw("POST", `${VMS}/new/placement`, vm);
  await ask();
  aheadMs += 61_000;
  unanswered = true;
  await expect(ask()).rejects.toThrow("the store does not answer");
  unanswered = false;
  const before = reads;
  for (let i = 0; i < 3; i++) await ask();
  await admin.raw("GET", "/apis/vireo.dev/v1/plans/p1/undo");
  await admin.raw("GET", `${VMS}/web-1/placement`);
  expect(reads - before).toBe(1);
  aheadMs += 61_000;
  await ask();
  expect(reads - before).toBe(2);
});

it("reads the estate once in a while, however many ask what an undo would be; anew when the plan has done something since", async () => {
  stopped = Date.now();
  aheadMs += 61_000;
  const before = estates;
  for (let i = 0; i < 3; i++) await editor.raw("GET", UNDO);
  await admin.raw("GET", `${VMS}/web-1/placement`);
  expect(estates - before).toBe(1);
  const plan = await plane.client.get(Plan, { name: "p1" });
  if (!plan) throw new Error("it is not there");
  await plane.client.updateStatus(Plan, { ...plan, status: { ...plan.status, done: 1 } });
  for (let i = 0; i < 3; i++) await editor.raw("GET", UNDO);
  expect(estates - before).toBe(2);
  stopped = undefined;
});
