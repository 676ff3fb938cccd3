/** The Redfish client against a pretend BMC over real TLS: what it sends, to whom, and what it says when that goes wrong. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCa, issue } from "../api/certificates.ts";
import type { Redfish } from "./kinds.ts";
import { openRedfish } from "./redfish.ts";
import { type PretendRedfish, SYSTEM, startPretendRedfish } from "./testing/pretend-redfish.ts";

const LOGIN = { username: "vireo", password: "pass-of-the-bmc" };
let ca: string;
let bmc: PretendRedfish;

beforeEach(async () => {
  const authority = await createCa("BMCs");
  ca = authority.cert;
  bmc = await startPretendRedfish(
    await issue(authority, {
      subject: { commonName: "bmc-a" },
      names: ["127.0.0.1"],
      usage: ["server"],
      days: 1,
    }),
    LOGIN,
  );
});
afterEach(() => bmc.close());

const open = (more: Partial<Redfish> = {}, login = LOGIN) =>
  openRedfish({ url: bmc.url, system: SYSTEM, ca, ...more }, login);
const messageOf = (result: Promise<unknown>) =>
  result.then(
    () => "done",
    (error: Error) => error.message,
  );

describe("Redfish", () => {
  it("sees the power and switches it, by a CA or by a fingerprint", async () => {
    const known = open();
    expect(await known.state()).toBe("Off");
    await known.on();
    expect(await known.state()).toBe("On");
    const pinned = openRedfish(
      { url: bmc.url, system: SYSTEM, fingerprint: bmc.fingerprint.toLowerCase() },
      LOGIN,
    );
    await pinned.shutDown();
    expect(await pinned.state()).toBe("Off");
    await pinned.cut();
    expect(bmc.resets).toEqual(["On", "GracefulShutdown", "ForceOff"]);
    for (const [power, state] of [
      ["PoweringOn", "Off"],
      ["PoweringOff", "On"],
    ]) {
      bmc.power = power ?? "";
      expect(await pinned.state()).toBe(state);
    }
  });

  it("presses the power button of a host that knows no graceful shutdown, only while it is on", async () => {
    bmc.types = ["On", "ForceOff", "PushPowerButton"];
    for (const power of ["Off", "PoweringOff", "PoweringOn"]) {
      bmc.power = power;
      await open().shutDown();
      expect([power, bmc.power]).toEqual([power, power]);
    }
    bmc.power = "On";
    await open().shutDown();
    expect([bmc.power, bmc.resets]).toEqual(["Off", ["PushPowerButton"]]);
    bmc.types = ["GracefulShutdown", "PushPowerButton"];
    bmc.power = "On";
    await open().shutDown();
    expect(bmc.resets.at(-1)).toBe("GracefulShutdown");
  });

  it("sends nothing to whoever is not proven", async () => {
    const url = bmc.url;
    expect(await messageOf(openRedfish({ url, system: SYSTEM }, LOGIN).state())).toMatch(
      /certificate is not trusted .*spec.bmc.redfish.ca/,
    );
    const other = await createCa("somebody");
    expect(await messageOf(open({ ca: other.cert }).state())).toMatch(/certificate is not trusted/);
    const wrong = bmc.fingerprint.replace(/^../, (byte) => (byte === "00" ? "01" : "00"));
    expect(await messageOf(openRedfish({ url, system: SYSTEM, fingerprint: wrong }, LOGIN).on())).toContain(
      `another one, with the SHA-256 fingerprint ${bmc.fingerprint}`,
    );
    expect(bmc.authorizations).toEqual([]);
  });

  it("says what is wrong and where, and never the password", async () => {
    const said = [
      await messageOf(open({}, { ...LOGIN, password: "no" }).state()),
      await messageOf(open({ system: "7" }).state()),
    ];
    expect(said[0]).toMatch(/could not be asked whether the host is on: it refuses the username or password/);
    expect(said[1]).toMatch(/has no \/redfish\/v1\/Systems\/7; is spec.bmc.redfish.system right/);
    bmc.types = ["On", "ForceOff"];
    expect(await messageOf(open().shutDown())).toMatch(
      /no reset that asks the host to shut down .*, only On, ForceOff; .* spec.bmc.ipmi/,
    );
    bmc.types = ["On"];
    expect(await messageOf(open().cut())).toMatch(/no reset of the type ForceOff, only On/);
    bmc.target = "https://evil.example/redfish";
    expect(await messageOf(open().on())).toMatch(/names no path of Redfish/);
    bmc.power = "Sideways";
    expect(await messageOf(open().state())).toMatch(/has no PowerState/);
    const { url } = bmc;
    await bmc.close();
    expect(await messageOf(open({ url }).state())).toMatch(/cannot be reached \(ECONNREFUSED\)/);
    expect(bmc.resets).toEqual([]);
    expect(said.join()).not.toContain(LOGIN.password);
  });
});
