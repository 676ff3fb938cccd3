/** The threads of QEMU that run the guest's CPUs. */
import { isFields, type Qmp } from "./qmp.ts";

/** Thread ids in the order of the CPUs; the same one again where one thread runs several. @throws QmpError */
export async function vcpuThreads(qmp: Qmp): Promise<number[]> {
  const answer = await qmp.execute("query-cpus-fast");
  return (Array.isArray(answer) ? answer : [])
    .filter(isFields)
    .sort((a, b) => Number(a["cpu-index"]) - Number(b["cpu-index"]))
    .map((cpu) => Number(cpu["thread-id"]));
}
