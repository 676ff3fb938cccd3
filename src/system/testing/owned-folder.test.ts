import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { identify } from "../process.ts";
import { abandoned, giveUp, ownFolder, removeAbandoned } from "./owned-folder.ts";

/** A test that starts something, and is killed once that runs. @returns its folder, and what it has started */
async function killedTest(): Promise<{ folder: string; started: number }> {
  const program = `
    import { spawn } from "node:child_process";
    import { ownFolder } from ${JSON.stringify(join(import.meta.dirname, "owned-folder.ts"))};
    const folder = ownFolder("vireo-killed-");
    const { pid } = spawn("sh", ["-c", "sleep 600; :", folder], { stdio: "ignore", detached: true });
    console.log(JSON.stringify({ folder, started: pid }));
    setInterval(() => {}, 1000);`;
  const test = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => test.on("exit", resolve));
  const said = await new Promise<string>((resolve) =>
    test.stdout.on("data", (data) => resolve(String(data))),
  );
  test.kill("SIGKILL");
  await ended;
  return JSON.parse(said);
}

it("what a killed test has left is found, ended and removed; what others have is not touched", async () => {
  const own = ownFolder("vireo-owned-");
  const evidence = ownFolder("vireo-owned-");
  giveUp(evidence);
  const { folder, started } = await killedTest();
  expect(abandoned()).toContain(folder);
  expect(abandoned()).not.toContain(own);
  expect(abandoned()).not.toContain(evidence);
  await removeAbandoned(folder);
  expect(existsSync(folder)).toBe(false);
  expect(abandoned()).not.toContain(folder);
  expect(identify(started)).toBeUndefined();
  for (const mine of [own, evidence]) {
    giveUp(mine);
    rmSync(mine, { recursive: true });
  }
});
