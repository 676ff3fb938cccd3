/** The options of `vireo up` and `vireo server` by which users of an OpenID Connect provider log in; named as kube-apiserver's. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import type { OidcOptions } from "../api/oidc.ts";
import { UserError } from "./user-error.ts";

export interface OidcFlags {
  oidcIssuer?: string;
  oidcClientId?: string;
  oidcUsernameClaim?: string;
  oidcGroupsClaim?: string;
  oidcGroupsPrefix?: string;
  oidcCa?: string;
}

/** Adds the options to a command. */
export const withOidc = (command: Command): Command =>
  command
    .option("--oidc-issuer <url>", "log users of this OpenID Connect provider in by its tokens")
    .option("--oidc-client-id <id>", "whom the tokens are for (aud)")
    .option(
      "--oidc-username-claim <claim>",
      "what the user is called: ISSUER#VALUE, or VALUE of email (default: sub)",
    )
    .option("--oidc-groups-claim <claim>", "the user's groups (default: groups)")
    .option("--oidc-groups-prefix <prefix>", "put before each group (default: oidc:)")
    .option("--oidc-ca <file>", "PEM of the CA of the provider's certificate");

/** @throws UserError naming the option that is wrong */
export function oidcOptions(flags: OidcFlags): OidcOptions | undefined {
  const { oidcIssuer: issuer, oidcClientId: clientId, oidcCa } = flags;
  if (issuer === undefined) {
    if (oidcArguments(flags).length > 0)
      throw new UserError("--oidc-issuer is needed with the other --oidc options");
    return undefined;
  }
  if (!URL.canParse(issuer) || new URL(issuer).protocol !== "https:")
    throw new UserError(`--oidc-issuer: ${JSON.stringify(issuer)} is not an https URL`);
  if (!clientId) throw new UserError("--oidc-client-id is needed with --oidc-issuer");
  const {
    oidcUsernameClaim: usernameClaim,
    oidcGroupsClaim: groupsClaim,
    oidcGroupsPrefix: groupsPrefix,
  } = flags;
  return {
    issuer,
    clientId,
    ...(usernameClaim === undefined ? {} : { usernameClaim }),
    ...(groupsClaim === undefined ? {} : { groupsClaim }),
    ...(groupsPrefix === undefined ? {} : { groupsPrefix }),
    ...(oidcCa === undefined ? {} : { ca: readCa(oidcCa) }),
  };
}

function readCa(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new UserError(
      `--oidc-ca: ${path} cannot be read: ${cause instanceof Error ? cause.message : cause}`,
    );
  }
  if (!text.includes("-----BEGIN CERTIFICATE-----"))
    throw new UserError(`--oidc-ca: ${path} holds no PEM certificate`);
  return text;
}

/** The same options as arguments of `vireo server`, which runs in another folder. */
export function oidcArguments(flags: OidcFlags): string[] {
  const pairs: [string, string | undefined][] = [
    ["--oidc-issuer", flags.oidcIssuer],
    ["--oidc-client-id", flags.oidcClientId],
    ["--oidc-username-claim", flags.oidcUsernameClaim],
    ["--oidc-groups-claim", flags.oidcGroupsClaim],
    ["--oidc-groups-prefix", flags.oidcGroupsPrefix],
    ["--oidc-ca", flags.oidcCa === undefined ? undefined : resolve(flags.oidcCa)],
  ];
  return pairs.flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}
