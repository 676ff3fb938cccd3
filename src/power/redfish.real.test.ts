/** What pretends to be a BMC in the tests of our Redfish client is one to the tool of those who made Redfish, too. */
import { expect, it } from "vitest";
import { createCa, issue } from "../api/certificates.ts";
import { run } from "../system/run.ts";
import { openRedfish } from "./redfish.ts";
import { SYSTEM, startPretendRedfish } from "./testing/pretend-redfish.ts";

it("a host that Vireo switches on is on to DMTF's redfishtool, and off to Vireo when that switched it off", async () => {
  const login = { username: "vireo", password: "pass-of-the-bmc" };
  const authority = await createCa("BMCs");
  const bmc = await startPretendRedfish(
    await issue(authority, {
      subject: { commonName: "bmc-a" },
      names: ["127.0.0.1"],
      usage: ["server"],
      days: 1,
    }),
    login,
  );
  const tool = (...args: string[]) =>
    run("redfishtool", [
      ...["-r", new URL(bmc.url).host, "-u", login.username, "-p", login.password, "-A", "Basic"],
      ...["-S", "Always", "-n", "Systems", "-I", SYSTEM, ...args],
    ]);
  try {
    const host = openRedfish({ url: bmc.url, system: SYSTEM, ca: authority.cert }, login);
    await host.on();
    expect(await tool("get", "-P", "PowerState")).toContain('"On"');
    await tool("reset", "ForceOff");
    expect(await host.state()).toBe("Off");
    expect(bmc.resets).toEqual(["On", "ForceOff"]);
  } finally {
    await bmc.close();
  }
});
