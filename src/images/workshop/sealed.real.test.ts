/** What programs of packages get to see of the control plane, and what it takes of what they say. */
import { afterEach, expect, it } from "vitest";
import { sealed } from "./sealed.ts";

const SECRET = "VIREO_TEST_SECRET";
afterEach(() => {
  delete process.env[SECRET];
});

it("nothing of its environment but where programs and folders are", async () => {
  process.env[SECRET] = "hidden";
  const lines: string[] = [];
  await sealed({ log: (line) => lines.push(line.trim()) }, ["env"], {
    env: { SOURCE_DATE_EPOCH: "7" },
  });
  const names = lines.flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? []);
  expect(names).toEqual(expect.arrayContaining(["PATH", "SOURCE_DATE_EPOCH", "LC_ALL"]));
  const known = ["HOME", "PATH", "TMPDIR", "SOURCE_DATE_EPOCH", "PWD", "SHLVL", "_"];
  const quiet = ["LC_ALL", "LANGUAGE", "DEBIAN_FRONTEND", "DEBCONF_NOWARNINGS"];
  expect(names.filter((name) => ![...known, ...quiet].includes(name))).toEqual([]);
});

it("no more of what they say than is good for it", async () => {
  const lines: string[] = [];
  const say = (script: string) => sealed({ log: (line) => lines.push(line) }, ["sh", "-c", script]);
  const most = /^sh said more than 64 MiB or 200000 lines, and was ended/;
  await expect(say("cat /dev/zero")).rejects.toThrow(most);
  expect(lines.length).toBeLessThan(5);
  await expect(say("yes")).rejects.toThrow(most);
  expect(lines.length).toBeLessThan(200_010);
  lines.length = 0;
  await say("head -c 1000000 /dev/zero | tr '\\0' x; printf '\\none\\rtwo\\r\\nend'");
  expect(lines[1]).toHaveLength(2051);
  expect(lines.slice(2, 4)).toEqual(["  two", "  end"]);
});

it("what a program is wrapped in is nothing to who reads the log or the error", async () => {
  const lines: string[] = [];
  const command = ["sh", "-c", 'exec "$@"', "sh", "/bin/false", "--now"];
  const shown = command.slice(-2);
  await expect(sealed({ log: (line) => lines.push(line) }, command, { shown })).rejects.toThrow(
    /^false ended with code 1: it said nothing$/,
  );
  expect(lines).toEqual(["+ /bin/false --now"]);
});
