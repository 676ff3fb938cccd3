import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { expect, it, onTestFinished } from "vitest";
import { type OidcFlags, oidcArguments, oidcOptions, withOidc } from "./oidc.ts";

const parse = (...args: string[]) => withOidc(new Command()).parse(args, { from: "user" }).opts<OidcFlags>();
const ISSUER = ["--oidc-issuer", "https://login.example.org"];

it("what up is given reaches the server as it is, with the CA's file found from any folder", () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-oidc-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "ca.pem");
  writeFileSync(file, "-----BEGIN CERTIFICATE-----");
  const more = ["--oidc-client-id", "vireo", "--oidc-username-claim", "email", "--oidc-groups-prefix", ""];
  const flags = parse(...ISSUER, ...more, "--oidc-groups-claim", "roles", "--oidc-ca", file);
  expect(oidcOptions(parse(...oidcArguments(flags)))).toEqual({
    issuer: "https://login.example.org",
    clientId: "vireo",
    usernameClaim: "email",
    groupsClaim: "roles",
    groupsPrefix: "",
    ca: "-----BEGIN CERTIFICATE-----",
  });
  writeFileSync(file, "something else");
  expect(() => oidcOptions(flags)).toThrow(`${file} holds no PEM certificate`);
  expect(oidcOptions(parse())).toBeUndefined();
  expect(oidcArguments({ oidcCa: "ca.pem" })).toEqual(["--oidc-ca", join(process.cwd(), "ca.pem")]);
});

it("what is wrong is told by the option's name", () => {
  expect(() => oidcOptions(parse(...ISSUER))).toThrow("--oidc-client-id is needed");
  expect(() => oidcOptions(parse("--oidc-client-id", "vireo"))).toThrow("--oidc-issuer is needed");
  expect(() => oidcOptions(parse("--oidc-issuer", "http://x", "--oidc-client-id", "a"))).toThrow("https URL");
  expect(() => oidcOptions(parse(...ISSUER, "--oidc-client-id", "a", "--oidc-ca", "/nowhere"))).toThrow(
    "/nowhere cannot be read",
  );
});
