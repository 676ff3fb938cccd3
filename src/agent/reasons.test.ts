/** What users are told of errors on a host. */
import { expect, it } from "vitest";
import { CommandError } from "../system/run.ts";
import { HypervisorError } from "./hypervisor.ts";
import { reasonOf } from "./reasons.ts";

const errno = (code: string) => Object.assign(new Error(`${code}: open '/srv/secret'`), { code });

it.each<[string, unknown, RegExp]>([
  ["our own words", new HypervisorError("web: its QEMU does not answer"), /^web: its QEMU does not answer$/],
  ["a program's", new CommandError("qemu-img: Image is locked"), /^qemu-img: Image is locked$/],
  ["a full pool", errno("ENOSPC"), /no room in its storage pool; make some/],
  ["a stale mount", errno("ESTALE"), /mount it again/],
  [
    "nothing of what is inside",
    new TypeError("x is undefined at /srv/secret"),
    /which its host's agent has logged/,
  ],
  ["nothing of what is no error", "boom", /which its host's agent has logged/],
])("%s", (_what, error, said) => {
  expect(reasonOf(error)).toMatch(said);
  expect(reasonOf(error)).not.toMatch(/secret|boom/);
});
