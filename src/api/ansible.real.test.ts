/** examples/ansible.yaml, which the docs show, by Ansible itself where it is on the machine: a machine is made, left as it is, and taken away. */
import { execFile, execFileSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { startApiStack } from "./testing/stack.ts";

const PLAYBOOK = join(import.meta.dirname, "../../examples/ansible.yaml");

function has(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
const isThere = has("ansible-playbook", "--version") && has("/usr/bin/python3", "-c", "import kubernetes");

it.skipIf(!isThere)(
  "a playbook makes a machine, changes nothing when run again, and deletes it",
  async () => {
    await using stack = await startApiStack();
    const play = (...more: string[]) =>
      new Promise<string>((resolve, reject) => {
        const args = ["-i", "localhost,", "-e", "wait=false", ...more, PLAYBOOK];
        const env = {
          ...process.env,
          KUBECONFIG: stack.kubeconfig,
          HOME: stack.folder,
          ANSIBLE_NOCOLOR: "1",
        };
        execFile("ansible-playbook", args, { env, timeout: 120_000 }, (error, out, err) =>
          error ? reject(new Error(`${out}\n${err}`)) : resolve(out),
        );
      });
    const at = { name: "web-3", namespace: "default" };
    const made = await play();
    expect(made).toContain('"msg": "web-3: nowhere yet"');
    expect(made).toMatch(/ok=3 +changed=1 /);
    const { metadata } = (await stack.admin().get(VirtualMachine, at)) ?? {};
    expect(metadata?.labels).toEqual({ app: "shop", tier: "web" });
    expect(await play()).toMatch(/ok=3 +changed=0 /);
    // Ansible's dry run asks the server for one.
    expect(await play("--check", "-e", "state=absent")).toMatch(/changed=1 /);
    expect(await stack.admin().get(VirtualMachine, at)).toBeDefined();
    expect(await play("-e", "state=absent")).toMatch(/changed=1 /);
    expect(await stack.admin().get(VirtualMachine, at)).toBeUndefined();
    expect(stack.errors).toEqual([]);
  },
);
