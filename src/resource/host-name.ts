const HOST_USER = "system:host:";
/** The user name of a host's agent: the common name of its certificates. */
export const hostUser = (name: string) => `${HOST_USER}${name}`;
/** The host whose agent this user is. */
export const hostOfUser = (user: string) =>
  user.startsWith(HOST_USER) ? user.slice(HOST_USER.length) : undefined;

/** The TLS name of a host's agent, in the certificate by which it logs in. */
export const hostDnsName = (name: string) => `${name}.host.vireo`;
/**
 * The TLS name of a host for the streams between hosts, in a certificate of its own: what the source of a migration checks the target against. Not the agent's, which
 * a QEMU that has been taken over could then pretend to be.
 */
export const migrationsDnsName = (name: string) => `${name}.migrations.vireo`;
/** Whom that certificate names as its organization: no login anywhere. */
export const MIGRATIONS = "system:migrations";
