/** What is in use cannot be deleted; who uses it is told, and what to do. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Namespace } from "../api/namespaces.ts";
import { Image } from "../images/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { Host } from "./hosts/kinds.ts";
import { VirtualMachine } from "./kinds.ts";
import { Network } from "./networks/kinds.ts";
import { StoragePool } from "./storage/kinds.ts";
import { untilGone } from "./testing/control-plane.ts";
import { type Estate, NS, openEstate } from "./testing/estate.ts";

let estate: Estate;
beforeEach(async () => {
  estate = await openEstate();
});
afterEach(() => estate.close());

const remove = <T extends Resource>(kind: Kind<T>, name: string, namespace?: string) =>
  estate.client.delete(kind, namespace ? { name, namespace } : { name }).then(
    () => "deleted",
    (error: unknown) => (isApiError(error, "Forbidden") ? error.message : String(error)),
  );

it("images, networks and pools stay as long as a machine names them", async () => {
  for (const name of ["a", "b", "c", "d", "e"]) await estate.createMachine(name, { running: false });
  const users = "used by default/a, default/b, default/c and 2 more";
  expect(await remove(Image, "web")).toBe(
    `images.vireo.dev "web" is forbidden: ${users}: spec.image or spec.disks of these machines names it; delete them first`,
  );
  expect(await remove(Network, "default")).toContain(`${users}: spec.networks of`);
  expect(await remove(StoragePool, "default")).toContain(`${users}: spec.storagePool of`);
  for (const name of ["a", "b", "c", "d", "e"]) {
    await estate.client.delete(VirtualMachine, { name, namespace: NS });
    await untilGone(estate.client, VirtualMachine, { name, namespace: NS });
  }
  expect(await remove(Network, "default")).toBe("deleted");
  expect(await remove(StoragePool, "default")).toBe("deleted");
  expect(await remove(Image, "web")).toBe("deleted");
});

it("an image stays as long as it is in a drive", async () => {
  await estate.client.create(Image, { metadata: { name: "iso" }, spec: { file: "a.iso" } });
  await estate.createMachine("a", { running: false, cdDrives: [{ name: "cd", image: "iso" }] });
  expect(await remove(Image, "iso")).toBe(
    'images.vireo.dev "iso" is forbidden: used by default/a: it is in their CD drives; vireo eject takes it out',
  );
  await estate.client.patch(
    VirtualMachine,
    { name: "a", namespace: NS },
    { spec: { cdDrives: [{ name: "cd" }] } },
  );
  expect(await remove(Image, "iso")).toBe("deleted");
});

it("a host stays as long as a machine is on it", async () => {
  await estate.runMachine("web", "a");
  expect(await remove(Host, "a")).toBe(
    'hosts.vireo.dev "a" is forbidden: used by default/web-1: these instances are on it; move or stop their machines first',
  );
  expect(await remove(Host, "b")).toBe("deleted");
  await estate.client.patch(VirtualMachine, { name: "web", namespace: NS }, { spec: { running: false } });
  await estate.end("web-1", "Requested");
  expect(await remove(Host, "a")).toBe("deleted");
});

it("a protected machine stays until its protection is lifted, and its project with it", async () => {
  await estate.client.create(Namespace, { metadata: { name: "shop" }, spec: {} });
  await estate.client.create(VirtualMachine, {
    metadata: { name: "db", namespace: "shop" },
    spec: { image: "web", memory: "64Mi", running: false, deletionProtection: true },
  });
  expect(await remove(VirtualMachine, "db", "shop")).toBe(
    'virtualmachines.vireo.dev "db" is forbidden: spec.deletionProtection is true; set it to false first',
  );
  expect(await remove(Namespace, "shop")).toBe(
    'namespaces "shop" is forbidden: used by shop/db: spec.deletionProtection of these machines is true; set it to false first',
  );
  await estate.client.patch(
    VirtualMachine,
    { name: "db", namespace: "shop" },
    { spec: { deletionProtection: false } },
  );
  expect(await remove(Namespace, "shop")).toBe("deleted");
  await untilGone(estate.client, Namespace, { name: "shop" });
  expect((await estate.client.list(VirtualMachine)).items).toEqual([]);
});
