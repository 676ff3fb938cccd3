/** Credentials for migrations between hosts, as the product's own enrolment gives them, and some that must be refused. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createSigningRequest, Pki } from "../../api/pki.ts";

/** a, b: hosts. foreign: calls itself a, by another CA. login: of a, for its agent. user: no host, whatever its name. */
export type Holder = "a" | "b" | "foreign" | "login" | "user" | "nobody";

export const credentialsOf = (folder: string, holder: Holder) => ({
  tls: { directory: join(folder, `tls-${holder}`) },
});

/** Writes those of all holders but nobody. */
export async function writeCredentials(folder: string): Promise<void> {
  const pki = await Pki.open(join(folder, "pki"));
  const foreign = await Pki.open(join(folder, "foreign"));
  const write = (holder: Holder, ca: string, { cert, key }: { cert: string; key: string }) => {
    const { directory } = credentialsOf(folder, holder).tls;
    mkdirSync(directory, { mode: 0o700 }); // root's: QEMU itself cannot read it
    const file = (at: string, text: string) => writeFileSync(join(directory, at), text, { mode: 0o600 });
    file("ca-cert.pem", ca);
    for (const role of ["server", "client"]) {
      file(`${role}-cert.pem`, cert);
      file(`${role}-key.pem`, key);
    }
  };
  const enrol = async (name: string, by: Pki) => {
    const { csr, key } = await createSigningRequest(name);
    return { cert: await by.signMigrations(name, csr), key };
  };
  const { csr, key } = await createSigningRequest("a");
  write("login", pki.ca, { cert: await pki.signHost("a", csr, ["127.0.0.1"]), key });
  write("a", pki.ca, await enrol("a", pki));
  write("b", pki.ca, await enrol("b", pki));
  write("foreign", pki.ca + foreign.ca, await enrol("a", foreign));
  write("user", pki.ca, await pki.clientCredentials("system:host:a,O=system:migrations", ["people"]));
}
