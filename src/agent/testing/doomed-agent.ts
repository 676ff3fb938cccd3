/**
 * What an agent does for a run up to its start, as a program that is to be killed on the way: node doomed-agent.ts FOLDER POOL-INSTANCE-NETWORK (JSON). The
 * test that calls it puts programs on the path which kill it at a step.
 */
import { join } from "node:path";
import type { Instance } from "../../compute/kinds.ts";
import type { Network } from "../../compute/networks/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { userOf } from "../disks/volume-places.ts";
import { ensureVolumes } from "../disks/volumes.ts";
import type { MachineId } from "../hypervisor.ts";
import { Networking } from "../network/network.ts";
import { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";

/** What the run is of. Written by the test. */
export interface Doomed {
  pool: StoragePool;
  image: Image;
  instance: Instance;
  network: Network;
}

const [folder = "", json = ""] = process.argv.slice(2);
const { pool, image, instance, network }: Doomed = JSON.parse(json);
const { saved: _, ...volumes } = await ensureVolumes(pool, image, instance);
const user = userOf(instance.spec);
const networking = new Networking({ stateFolder: folder, address: "127.0.0.1" });
const [nic = { mac: "", address: "" }] = instance.spec.interfaces;
await networking.ensure(network, [], [{ ...nic, hostname: "doomed" }]);
const limits = { receive: 2 ** 20, send: 2 ** 20 };
const tap = await networking.ensureTap(network, { uid: instance.metadata.uid ?? "", ...nic }, user, limits);
const hypervisor = new QemuHypervisor({ runDirectory: join(folder, "run"), log: silentLogger });
await hypervisor.start(
  {
    // Safe: written by the test.
    id: instance.metadata.uid as MachineId,
    name: instance.metadata.name,
    cpus: 1,
    memory: parseBytes(instance.spec.memory),
    nics: [{ mac: nic.mac, mtu: 1450, backend: { tap } }],
    accelerator: "tcg",
    user,
    ...volumes,
  },
  "run",
);
process.exit(0);
